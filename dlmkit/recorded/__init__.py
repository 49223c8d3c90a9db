"""Whole steps that a device repeats without Python in between."""
