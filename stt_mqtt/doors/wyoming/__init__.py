"""The Wyoming door: Home Assistant's voice protocol over TCP, a Unix socket or stdio."""
