"""What this system saves against a naive speech server, and what each step of it is worth."""
