"""Words of finished speech in place of others, and the rest as it was."""
