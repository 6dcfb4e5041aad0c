"""What the service tells about itself: counters, process figures, logs."""
