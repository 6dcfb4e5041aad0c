"""The demo: sample commands and simulated satellites."""
