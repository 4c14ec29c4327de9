"""The classes of tokens, one to a file: how each is recognised, and how it is said."""
