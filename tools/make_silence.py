"""Makes the encoder states of silence of the calibrated models, for maintainers.

`python -m tools.make_silence` has each model encode a full window of silence. The states are
shipped, because to encode them takes a hundred megabytes for a moment.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from stt_mqtt.engine import calibration
from stt_mqtt.engine.calibration import shipped
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.whisper import load_with
from stt_mqtt.rungs import Rung

FOLDER = Path(calibration.__file__).parent / "silence"


def main() -> None:
    """Write a file for each shipped calibration."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    for entry in shipped():
        rung = Rung(entry.model, entry.model, 1, "float32")
        model = resolve(entry.model, default_models_dir())
        loaded = load_with(None, model, rung, Parallelism(1, 1)).loaded
        states = loaded.encode_silence(entry.calibration.silence_level).states
        file = FOLDER / f"{entry.model}.npy"
        np.save(file, states.astype(np.float16))
        print(f"{file}: {states.shape}")


if __name__ == "__main__":
    main()
