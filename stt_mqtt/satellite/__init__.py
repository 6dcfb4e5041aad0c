"""The satellite: detects speech at the microphone and sends only that."""
