"""faster-whisper's own `transcribe`, as the usual server calls it, in a process of its own.

Reads paths from standard input, one per line, and answers each with a line of JSON. Imports
nothing of this project, so that it runs as it would anywhere else.
"""

from __future__ import annotations

import json
import sys

from faster_whisper import WhisperModel


def main(folder: str, threads: int) -> None:
    """Answer until standard input ends."""
    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=threads)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        segments, _ = model.transcribe(line.rstrip("\n"), beam_size=5, language="en")
        # The segments are made while they are read.
        text = " ".join(segment.text for segment in segments)
        print(json.dumps({"text": text}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
