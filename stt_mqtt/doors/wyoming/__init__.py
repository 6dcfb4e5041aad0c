"""The Wyoming door: the voice protocol of Home Assistant, over TCP, Unix sockets or stdio."""
