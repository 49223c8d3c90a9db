"""Compiled engines: export to ONNX, bundles, and engines that run them."""
