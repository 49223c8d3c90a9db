"""The denoise loop: from a canvas to a prediction, from that to a decision, and on."""
