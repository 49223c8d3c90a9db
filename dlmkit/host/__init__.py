"""The machine around the networks: what it is, waits for, and does not do twice."""
