"""`python -m soundstorm_edge.cli` is `soundstorm-train`."""

from . import main

main()
