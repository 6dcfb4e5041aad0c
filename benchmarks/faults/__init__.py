"""Faults of broker, network, machine and model while four rooms speak."""
