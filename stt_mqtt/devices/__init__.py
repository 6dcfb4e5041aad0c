"""What the service knows of each device: the open utterance, the settings, the counters."""
