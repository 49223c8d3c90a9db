"""What a forward pass costs, by network and shape, on this machine."""
