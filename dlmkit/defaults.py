"""What runs where nothing is said."""

from __future__ import annotations

__all__ = ["DEFAULT_PIPELINE", "SINGLE_PIPELINE"]

DEFAULT_PIPELINE = "dual-diffusion-lossless"
"""The preset of a decode that names none: a drafter and a verifier, both built in."""

SINGLE_PIPELINE = "llada"
"""The preset of a decode that names nothing but one model."""
