"""The MaskGIT decode loop, and batches of like length."""
