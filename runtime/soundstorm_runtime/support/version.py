"""The version of the installed distribution, which the three packages share."""

from __future__ import annotations


def package_version() -> str:
    """Return the version of soundstorm-edge, or "unknown" for a source tree that is not installed."""
    from importlib import metadata  # imports the email package, which nothing else here needs

    try:
        return metadata.version("soundstorm-edge")
    except metadata.PackageNotFoundError:
        return "unknown"
