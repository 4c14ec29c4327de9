"""Utilities: configurations, files of tensors, progress bars."""
