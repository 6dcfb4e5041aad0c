"""The core: from what the doors report to exactly one outcome per utterance."""
