"""SoundStorm: semantic tokens to codes."""
