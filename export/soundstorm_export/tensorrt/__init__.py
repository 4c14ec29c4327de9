"""TensorRT engines built from a bundle."""
