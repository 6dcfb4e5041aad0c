"""Benchmarks of the whole service, each run as `python -m benchmarks.<name>`."""
