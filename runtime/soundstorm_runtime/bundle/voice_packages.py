"""Voice packages: bundles that pip has installed, found by the entry point group `soundstorm.voices`.

    [project.entry-points."soundstorm.voices"]
    flite-multi = "soundstorm_voice_flite_multi"

The name of the entry point is that of the voice package, its value the Python package whose folder `bundle`
is the bundle. That Python package is looked up and never imported. `soundstorm-export --wheel` writes one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from ..errors import BundleError, OptionError
from .reader import MANIFEST_FILE

ENTRY_POINT_GROUP = "soundstorm.voices"
BUNDLE_FOLDER = "bundle"
VARIABLE = "SOUNDSTORM_VOICE_PACK"  # names the default where several are installed

_INSTALL = "install one, such as pip install ./voices/flite-multi, or give the folder of a bundle"


@dataclass(frozen=True)
class VoicePackage:
    """An installed voice package.

    Attributes:
        name: The name of its entry point, which `--voice-pack` takes.
        distribution: The distribution that pip installed, and its version.
        path: The folder of the bundle.
    """

    name: str
    distribution: str
    path: Path


def installed_voice_packages() -> list[VoicePackage]:
    """Return all voice packages by name, also those whose bundle cannot be read."""
    found = [_voice_package(entry) for entry in entry_points(group=ENTRY_POINT_GROUP)]
    return sorted(found, key=lambda package: (package.name, package.distribution))


def find_voice_package(name: str | None = None) -> VoicePackage:
    """Return the voice package of a name, or the default one.

    The default is that of the environment variable `SOUNDSTORM_VOICE_PACK`, or the only one installed.

    Raises:
        OptionError: There is none, or more than one.
        BundleError: Its files are missing.
    """
    installed = installed_voice_packages()
    names = ", ".join(dict.fromkeys(package.name for package in installed))
    name = name or os.environ.get(VARIABLE) or None
    found = [package for package in installed if name in (None, package.name)]
    if not installed:
        asked = "" if name is None else f", but {name!r} was asked for"
        raise OptionError(f"no voice package is installed{asked}; {_INSTALL}")
    if not found:
        raise OptionError(f"there is no voice package {name!r}, installed: {names}; take one, or {_INSTALL}")
    if len(found) > 1 and name is None:
        raise OptionError(
            f"several voice packages are installed: {names}; name one with --voice-pack, or in the "
            f"environment variable {VARIABLE}"
        )
    if len(found) > 1:
        both = " and ".join(package.distribution for package in found)
        raise OptionError(f"{both} both install a voice package {name!r}; pip uninstall one of them")
    (package,) = found
    if not (package.path / MANIFEST_FILE).is_file():
        raise BundleError(
            f"voice package {package.name!r} of {package.distribution} has no files: expected "
            f"{package.path / MANIFEST_FILE}; install it again"
        )
    return package


def _voice_package(entry: EntryPoint) -> VoicePackage:
    distribution = "an unknown distribution"
    if entry.dist is not None:
        distribution = f"{entry.dist.metadata['Name']} {entry.dist.version}"
    return VoicePackage(entry.name, distribution, _package_folder(entry) / BUNDLE_FOLDER)


def _package_folder(entry: EntryPoint) -> Path:
    """Return the folder of a Python package; that of its distribution if `sys.path` has several."""
    if not entry.value.isidentifier():
        return Path(entry.value)
    if entry.dist is not None:
        own = Path(str(entry.dist.locate_file(entry.value)))
        if (own / BUNDLE_FOLDER).is_dir():
            return own
    spec = find_spec(entry.value)  # of an editable installation
    folders = (spec.submodule_search_locations or ()) if spec is not None else ()
    return Path(next(iter(folders), entry.value))
