"""Formats, assembling, decoding and the speech gate: everything that knows audio bytes."""
