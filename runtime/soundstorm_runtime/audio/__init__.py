"""Audio files in and out, and the inverse STFT."""
