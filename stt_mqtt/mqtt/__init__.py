"""The connection to the broker: messages in, publications out, whatever the network does.

Nothing here knows what a topic means.
"""
