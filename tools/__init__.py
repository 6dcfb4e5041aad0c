"""Developer tools: not shipped."""
