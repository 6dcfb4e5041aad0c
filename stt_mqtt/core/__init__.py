"""The core: turns what the doors report into exactly one outcome per utterance."""
