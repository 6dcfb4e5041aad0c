"""Speech to text for smart homes: audio in over MQTT, text out over MQTT."""

import os
from importlib.metadata import version

# This must be set before numpy is imported. Small matrix products gain nothing from threads.
# Spinning threads cost a fifth of all CPU time. The number of threads changes the last digits of
# the features, so the text would depend on the machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__version__ = version("stt-mqtt")
