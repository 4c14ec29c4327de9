"""Checks of exported graphs: operators, parity with PyTorch, speech."""
