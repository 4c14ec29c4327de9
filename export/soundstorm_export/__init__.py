"""Turn a checkpoint into a bundle: ONNX graphs that are checked against PyTorch."""
