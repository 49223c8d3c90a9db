"""Running bundles with ONNX Runtime."""
