"""Observability: counters, figures of the process, and logs."""
