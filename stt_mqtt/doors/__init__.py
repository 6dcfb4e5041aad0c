"""The ways in: each door turns its wire into the line's events and outcomes back into its wire."""
