"""Engines: what runs a network."""
