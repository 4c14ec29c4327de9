"""The command `soundstorm-export`, with the tests' cache of traces; `make demo` runs it without."""

from soundstorm_export.cli import main
from soundstorm_export.tracing import trace
from tests import trace_cache

if __name__ == "__main__":
    trace.capture = trace_cache.cached
    main()
