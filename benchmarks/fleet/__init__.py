"""The fleet under load: workers and servers that die and join, its throughput and its latency."""
