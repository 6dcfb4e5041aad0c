"""Speech to text for smart homes: audio in over MQTT, text out over MQTT."""

from importlib.metadata import version

__version__ = version("stt-mqtt")
