"""A voice package in a folder of `sys.path`, as pip installs it, without pip."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path


def install_voice(
    site: Path, name: str, bundle: Path | None, distribution: str | None = None, value: str | None = None
) -> Path:
    """Install a bundle as a voice package, and return the folder of its bundle.

    Args:
        site: The folder.
        name: Name of the entry point.
        bundle: The bundle; None leaves the package without files.
        distribution: Name of the distribution; None takes the other name.
        value: Value of the entry point; None takes the right one.
    """
    distribution = distribution or name
    module = f"soundstorm_voice_{distribution.replace('-', '_')}"
    (site / module).mkdir(parents=True)
    (site / module / "__init__.py").write_text("raise RuntimeError('code of a voice package ran')\n")
    if bundle is not None:
        shutil.copytree(bundle, site / module / "bundle")
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: soundstorm-voice-{distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[soundstorm.voices]\n{name} = {value or module}\n")
    importlib.invalidate_caches()
    return site / module / "bundle"
