"""From a network in PyTorch to a graph in ONNX."""
