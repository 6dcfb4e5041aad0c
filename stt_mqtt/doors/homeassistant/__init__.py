"""Home Assistant's MQTT discovery: the service and its native satellites as devices."""
