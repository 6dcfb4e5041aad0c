"""The web door: pages over HTTP, and a WebSocket for browsers that are satellites."""
