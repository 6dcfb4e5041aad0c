"""The MQTT transport: one connection to the broker, with automatic reconnection.

Nothing here knows what a topic means.
"""
