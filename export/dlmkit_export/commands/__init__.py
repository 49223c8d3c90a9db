"""Commands that this package adds to `dlmkit`."""
