"""Compiled engines: ONNX export, ONNX Runtime and TensorRT.  Empty until the export work lands."""
