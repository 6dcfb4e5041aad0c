"""Everything that knows audio bytes: formats, assembling, decoding, encoding, the speech gate."""
