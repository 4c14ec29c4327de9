"""Text to audio: options, stages, whole sentences, streams."""
