"""`python -m soundstorm_runtime.cli` is `soundstorm`."""

from . import main

main()
