"""Configuration and files of tensors."""
