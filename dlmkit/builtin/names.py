"""Names of the built-in models."""
MODELS = ("verifier", "drafter", "guide")
