"""Audio: formats, buffers, decoding, encoding, and the speech gate."""
