"""`stt-mqtt` whose engine hangs or raises on the utterances of one device while a file exists.

Run as a script: TRIGGER PROGRAM ARGUMENTS. TRIGGER holds `hang` or `raise`. Nothing else of the
program is changed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from stt_mqtt import cli
from stt_mqtt.engine.pipeline import Pipeline, Progress
from stt_mqtt.types import Batch, Verdict

VICTIM = "porch"
POLL_S = 0.1


def break_engine(trigger: Path) -> None:
    """Have every pipeline of this process look at the file before it works."""
    run = Pipeline.run

    def broken(
        self: Pipeline, batch: Batch, progress: Progress | None = None
    ) -> Iterator[tuple[int, Verdict]]:
        if any(utterance.key.name == VICTIM for utterance in batch.utterances):
            what = trigger.read_text() if trigger.exists() else ""
            if what == "raise":
                raise RuntimeError("this model is broken on purpose")
            while what == "hang" and trigger.exists():
                time.sleep(POLL_S)
        yield from run(self, batch, progress)

    Pipeline.run = broken  # type: ignore[method-assign]


if __name__ == "__main__":
    break_engine(Path(sys.argv[1]))
    sys.exit(cli.main(sys.argv[3:]))
