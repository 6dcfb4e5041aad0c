"""What can be cured of the naive server, one thing at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Cures:
    """What is done better than in `naive`; by default nothing.

    Those that the client has a part in: `edge_vad` and `compression`.
    """

    tiny_model: bool = False
    """tiny.en in int8 instead of base as it comes."""
    no_subprocess: bool = False
    """Audio is decoded in the process instead of by one of FFmpeg's for each chunk."""
    edge_vad: bool = False
    """The client sends speech only; each utterance is transcribed once, at its end."""
    pool: bool = False
    """Four threads and a queue of eight instead of a thread for each chunk."""
    caps: bool = False
    """A buffer ends at 30 s; its text is kept and the next one begins."""
    batching: bool = False
    """Of what waits for the model, only the newest state of each buffer is transcribed."""
    ladder: bool = False
    """tiny.en takes over while more than two wait for the model."""
    silence_skipping: bool = False
    """The server drops chunks in which its voice detector hears nobody."""
    compression: bool = False
    """Opus at 24 kbit/s instead of PCM in base64 in JSON."""
    cached_pipeline: bool = False
    """Tokenizer and feature extractor are made once instead of for each transcription."""

    def names(self) -> str:
        """The cures that are on, separated by commas."""
        return ",".join(cure.name for cure in fields(self) if getattr(self, cure.name))


def cures_of(names: Iterable[str]) -> Cures:
    """Those cures. Raises TypeError for a name that there is not."""
    return Cures(**dict.fromkeys(names, True))


NOTHING = "before"
EVERYTHING = "all of them"
TITLES = {
    "tiny_model": "tiny model",
    "no_subprocess": "no subprocess",
    "edge_vad": "edge VAD",
    "silence_skipping": "silence skipping",
    "caps": "caps",
    "batching": "batching",
    "pool": "pool",
    "ladder": "ladder",
    "compression": "compression",
    "cached_pipeline": "cached pipeline",
}
STEPS = {
    NOTHING: Cures(),
    **{title: cures_of([name]) for name, title in TITLES.items()},
    EVERYTHING: cures_of(TITLES),
}
"""Each step by its title: nothing, each cure alone, all of them."""
