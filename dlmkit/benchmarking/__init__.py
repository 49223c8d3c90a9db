"""Measuring how fast a pipeline decodes, and where the time goes."""
