"""Make the files of silence that come with the calibrations, for maintainers.

`python -m tools.make_silence`: asks the encoder of each calibrated model what it makes
of a full window of silence. Shipped, because asking takes a hundred megabytes for a moment.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import stt_mqtt
from stt_mqtt.engine.calibration import shipped
from stt_mqtt.engine.cpu import Parallelism
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.engine.whisper import load_with
from stt_mqtt.types import Rung

FOLDER = Path(stt_mqtt.__file__).parent / "engine" / "silence"


def main() -> None:
    """Write a file for each shipped calibration."""
    for entry in shipped():
        rung = Rung(entry.model, entry.model, 1, "float32")
        model = resolve(entry.model, default_models_dir())
        loaded = load_with(None, model, rung, Parallelism(1, 1)).loaded
        states = loaded.hear_silence(entry.calibration.silence_level).states
        file = FOLDER / f"{entry.model}.npy"
        np.save(file, states.astype(np.float16))
        print(f"{file}: {states.shape}")


if __name__ == "__main__":
    main()
