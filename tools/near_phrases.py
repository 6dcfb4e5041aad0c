"""Speaks commands for a recogniser with the starter book: `python -m tools.near_phrases FOLDER`.

`near_phrases.yaml` has the sentences: those that only sound near a phrase, and those of the book.
Needs the program espeak-ng. Writes 16 kHz WAV files and `manifest.jsonl` with a line per file.
"""

from __future__ import annotations

import argparse
import json
import wave
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from stt_mqtt.phrases.names import HomeNames, NamesBuilder
from stt_mqtt.types import SAMPLE_RATE
from tools.make_samples import Voice, synthesise, to_pcm

SENTENCES = Path(__file__).with_suffix(".yaml")
MANIFEST = "manifest.jsonl"
VOICES = (
    Voice("en-us+f3", 150),
    Voice("en-gb+m3", 140),
    Voice("en-us", 170),
    Voice("en-gb-x-rp+f2", 160),
    Voice("en-gb+f2", 155),
    Voice("en-us+m1", 190),
)


@dataclass(frozen=True, slots=True)
class Clip:
    """A spoken sentence. `nearest`: the phrase that it sounds near; None: it is in the book."""

    file: str
    text: str
    nearest: str | None
    voice: str
    speed: int


def main() -> None:
    """Write the clips of every sentence and voice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--voices", type=int, default=len(VOICES), help="how many voices")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    clips = list(clips_of(sentences(), VOICES[: arguments.voices]))
    for clip in clips:
        write(arguments.folder / clip.file, clip)
    lines = (json.dumps(asdict(clip)) for clip in clips)
    (arguments.folder / MANIFEST).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    print(f"{len(clips)} clips in {arguments.folder}")


def sentences() -> dict[str, Any]:
    """The home and the sentences, as in `near_phrases.yaml`."""
    data: dict[str, Any] = yaml.safe_load(SENTENCES.read_text("utf-8"))
    return data


def home_of(home: dict[str, Any]) -> HomeNames:
    """The names of a home. A kind of thing is its domain, or its domain and device class."""
    builder = NamesBuilder()
    for kind, listed in home["names"].items():
        domain, _, device_class = kind.partition(".")
        for number, names in enumerate(listed):
            id = f"{domain}.{device_class}_{number}"
            builder.add_entity(id, names.split("/"), None, device_class or None)
    for area in home["areas"]:
        builder.add_area(area, [area], None)
    for floor in home["floors"]:
        builder.add_floor(floor, [floor])
    return builder.build()


def clips_of(data: dict[str, Any], voices: tuple[Voice, ...]) -> Iterator[Clip]:
    """Each sentence by each voice."""
    spoken = [("near", one["text"], one["nearest"]) for one in data["near"]]
    spoken += [("said", text, None) for text in data["said"]]
    for number, (kind, text, nearest) in enumerate(spoken):
        for voice_number, voice in enumerate(voices):
            file = f"{kind}-{number:03}-{voice_number}.wav"
            yield Clip(file, text, nearest, voice.name, voice.speed)


def write(path: Path, clip: Clip) -> None:
    """Speak a clip into a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(to_pcm(synthesise(clip.text, Voice(clip.voice, clip.speed))))


if __name__ == "__main__":
    main()
