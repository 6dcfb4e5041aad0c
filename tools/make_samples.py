"""Makes the sample commands of the demo: `python -m tools.make_samples`, for maintainers.

Needs the programs espeak-ng and flac (Debian: `apt install espeak-ng flac`). The files belong into
the repository, so nobody else has to run this.
"""

from __future__ import annotations

import argparse
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stt_mqtt.audio.decode import decode
from stt_mqtt.demo import samples
from stt_mqtt.demo.samples import MAX_SAMPLE_S, SAMPLES
from stt_mqtt.types import SAMPLE_RATE, EncodedAudio

FOLDER = Path(samples.__file__).parent / "samples"
PEAK = 0.5
LEAD_S, TAIL_S = 0.3, 0.4
"""Silence around the words, as a satellite sends it that listens a little before and after."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice of espeak-ng and its speed in words per minute."""

    name: str
    speed: int


VOICES = {
    "kitchen": Voice("en-gb+f3", 140),
    "living-room": Voice("en-gb+m3", 140),
    "bedroom": Voice("en-us", 140),
}


def main() -> None:
    """Make every sample anew."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    for sample in SAMPLES:
        wav = synthesise(sample.text, VOICES[sample.room])
        path = FOLDER / sample.file
        path.write_bytes(to_flac(to_pcm(wav)))
        print(f"{path.name}: {path.stat().st_size} bytes, {sample.text}")


def synthesise(text: str, voice: Voice) -> bytes:
    """`text` as a WAV file of whatever rate espeak-ng has."""
    return _filter(["espeak-ng", "-v", voice.name, "-s", str(voice.speed), "--stdout", text], b"")


def to_pcm(wav: bytes) -> bytes:
    """16-bit little-endian mono at `SAMPLE_RATE`, at a level of `PEAK`, between silences."""
    speech = decode(EncodedAudio(None, wav), MAX_SAMPLE_S).samples
    speech = np.pad(
        speech * (PEAK / np.max(np.abs(speech))),
        (int(LEAD_S * SAMPLE_RATE), int(TAIL_S * SAMPLE_RATE)),
    )
    return np.rint(speech * 32767).astype("<i2").tobytes()


def to_flac(pcm: bytes) -> bytes:
    """A FLAC file of what `to_pcm` returns."""
    form = ["--endian=little", "--sign=signed", "--channels=1", "--bps=16"]
    rate = f"--sample-rate={SAMPLE_RATE}"
    return _filter(
        ["flac", "--silent", "--best", "--stdout", "--force-raw-format", *form, rate, "-"], pcm
    )


def _filter(command: list[str], data: bytes) -> bytes:
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


if __name__ == "__main__":
    main()
