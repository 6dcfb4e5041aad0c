"""The Hermes door: `hermes/…` as Rhasspy 2.5 and Snips speak it."""
