"""Turn a checkpoint into a bundle: ONNX graphs that are proven equal to PyTorch."""
