"""Programs that speak with a voice for other programs, each through `Voice` alone."""
