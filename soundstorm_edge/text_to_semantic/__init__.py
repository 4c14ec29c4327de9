"""Text to semantic tokens: parallel and autoregressive."""
