"""Speech to text for smart homes: audio in over MQTT, text out over MQTT."""

import os
from importlib.metadata import version

# This must be set before numpy is imported. Small matrix products gain nothing from threads.
# Spinning threads cost a fifth of all CPU time. The number of threads changes the last digits of
# the features, so the text would depend on the machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# This must be set before CTranslate2 is imported. Intel's library would keep what it has freed for
# each thread: 25 to 50 MB.
os.environ.setdefault("MKL_DISABLE_FAST_MM", "1")

__version__ = version("stt-mqtt")
