"""Text to phones: sentences, normalisation, lexicon, letter-to-sound."""
