"""What a forward pass feeds, what may see what in it, and what is asked of it."""
