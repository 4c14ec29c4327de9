"""The bundle: its manifest, its checks, its prompts, and the engines opened from it."""
