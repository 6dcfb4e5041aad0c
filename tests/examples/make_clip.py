"""Makes the wake word of the tests: `python -m tests.examples.make_clip`, for maintainers.

Needs the program espeak-ng (Debian: `apt install espeak-ng`).
"""

from __future__ import annotations

from pathlib import Path

from stt_mqtt.audio.encode import make_encoder
from stt_mqtt.types import Codec
from tools.make_samples import Voice, synthesise, to_pcm

CLIP = Path(__file__).parent / "hey_jarvis.flac"

if __name__ == "__main__":
    encoder = make_encoder(Codec.FLAC, 24)
    pcm = to_pcm(synthesise("Hey Jarvis!", Voice("en-us", 150)))
    CLIP.write_bytes(encoder.push(pcm) + encoder.finish())
