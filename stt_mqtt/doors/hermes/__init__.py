"""The Hermes door: the topics `hermes/…` of Rhasspy 2.5 and Snips."""
