"""The composition root: creates all parts, starts them in order and stops them in reverse."""
