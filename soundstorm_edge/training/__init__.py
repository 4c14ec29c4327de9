"""The stages of training: codec, units, acoustic and text, all driven by one loop."""
