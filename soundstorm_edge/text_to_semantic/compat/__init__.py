"""Parts of the text stage that exist only for models of spear-tts-pytorch."""
