"""Several processes that share the work: gateways with the doors, and workers with the models."""
