"""Benchmarks of the whole service, each run as `python -m benchmarks.<name>`."""

import stt_mqtt  # noqa: F401  Before numpy: it keeps numpy to one thread, whose spinning would be counted.
