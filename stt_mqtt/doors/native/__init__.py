"""The native MQTT door: the topics `stt/<device>/…` and `stt/bridge/…`."""
