"""MQTT discovery for Home Assistant: the service and its native devices."""
