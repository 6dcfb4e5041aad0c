"""The composition root: files in, parts put together, started in order, stopped in reverse."""
