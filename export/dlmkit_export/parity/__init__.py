"""Comparing a compiled network with the one it was made from."""
