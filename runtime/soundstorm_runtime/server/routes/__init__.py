"""Routes of the server beside those of `app`, each with its own protocol."""
