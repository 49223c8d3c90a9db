"""The pytest plugin; loaded in every pytest run of an environment, so it imports nothing heavy."""
