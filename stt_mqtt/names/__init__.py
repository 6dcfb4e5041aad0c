"""The names that Home Assistant exposes, kept up to date and on disk."""
