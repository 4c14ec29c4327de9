"""Dialogue: the turns of several speakers, decoded in one sequence."""
