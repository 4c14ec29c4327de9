"""`python -m soundstorm_export.cli` is `soundstorm-export`."""

from . import main

main()
