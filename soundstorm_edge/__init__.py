"""Train a SoundStorm voice in PyTorch."""
