"""Checks of exported graphs: parity with PyTorch, operators that TensorRT accepts, and speech."""
