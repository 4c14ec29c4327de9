"""What is written to what is said: clean the characters, classify tokens, verbalise each by its class.

The design is that of Ebden and Sproat, "The Kestrel TTS text normalization system" (2015). It is written
here because the grammars of wetext take 45 MB, fail on characters that they do not know and lose the places
of words, and because sentence ends of sentencex are found before anyone knows that "1." is a number.
"""
