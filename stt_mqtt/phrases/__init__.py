"""The words of a home: its names, and the sentences that are made of them."""
