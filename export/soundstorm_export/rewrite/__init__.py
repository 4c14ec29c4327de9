"""Rewrites of ONNX graphs: simplification, forms for CPUs, and 16 and 8 bits."""
