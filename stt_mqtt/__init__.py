"""Speech to text for smart homes: audio in over MQTT, text out over MQTT."""

import os
from importlib.metadata import version

# Before numpy is imported anywhere: its small matrix products gain nothing from threads, but
# spinning threads cost a fifth of all CPU time, and their number changes the last digits of the
# features, so that the words would depend on the machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__version__ = version("stt-mqtt")
