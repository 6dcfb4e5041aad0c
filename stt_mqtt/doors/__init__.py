"""The doors: each translates one protocol into calls of the service, and outcomes back."""
