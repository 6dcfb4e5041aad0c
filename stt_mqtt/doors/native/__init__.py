"""The native MQTT door: `stt/<device>/…` and `stt/bridge/…`."""
