"""Bundles: folders that hold a compiled network with everything needed to run it."""
