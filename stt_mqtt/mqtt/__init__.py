"""The MQTT transport: one connection to the broker that reconnects by itself.

Nothing here knows what a topic means.
"""
