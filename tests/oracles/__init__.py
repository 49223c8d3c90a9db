"""Slow, obvious decoders written from the published formulas, to compare the loop with."""
