"""Build-time tools: they make data files of the packages, and are not installed with them."""
