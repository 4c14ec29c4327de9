"""Corpora: recordings with their text, phones and times."""
