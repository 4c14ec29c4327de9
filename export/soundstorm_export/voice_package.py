"""A voice package: a bundle as a distribution that pip installs and `soundstorm` finds by its entry point.

    FOLDER/pyproject.toml, README.md, NOTICE
    FOLDER/soundstorm_voice_NAME/bundle/     the bundle, beside an empty __init__.py
    FOLDER/dist/                             the wheel

Sources: the Python Packaging User Guide on pyproject.toml and entry points; PEP 639 on licences.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.version import InvalidVersion, Version

from soundstorm_runtime.bundle.reader import MANIFEST_FILE, Bundle
from soundstorm_runtime.bundle.voice_packages import BUNDLE_FOLDER, ENTRY_POINT_GROUP
from soundstorm_runtime.support.atomic import atomic_folder

from .errors import ExportError

WHEELS = "dist"
_HATCHLING = "hatchling>=1.27"  # the first one with PEP 639

_PYPROJECT = """\
# Written by soundstorm-export --wheel.
[build-system]
requires = ["{hatchling}"]
build-backend = "hatchling.build"

[project]
name = "{distribution}"
version = "{version}"
description = {description}
readme = "README.md"
requires-python = ">=3.10"
license = "{license}"
license-files = ["NOTICE"]
keywords = ["soundstorm", "speech synthesis", "text to speech", "voice"]
classifiers = [
    "Intended Audience :: Developers",
    "Operating System :: OS Independent",
    "Programming Language :: Python :: 3",
    "Topic :: Multimedia :: Sound/Audio :: Speech",
]

[project.urls]
Paper = "https://arxiv.org/abs/2305.09636"

[project.entry-points."{group}"]
{slug} = "{module}"

[tool.hatch.build]
ignore-vcs = true  # what git ignores belongs to the voice all the same

[tool.hatch.build.targets.wheel]
packages = ["{module}"]

[tool.hatch.build.targets.sdist]
only-include = ["{module}", "NOTICE", "README.md"]
"""

_README = """\
# {distribution}

The voice `{name}` for SoundStorm Edge: {voices}; {rate} Hz; precisions {precisions};
{megabytes:.0f} MB installed. This package is data alone: install it beside `soundstorm-edge` with an engine,
such as its extra `cpu`.

```bash
pip install .   # or the wheel, or {distribution} from where it is published
soundstorm say --voice-pack {slug} "Hello."
```

## Licence

{license}. {attribution}
"""


@dataclass(frozen=True)
class PackageOptions:
    """What a published voice has to say of itself.

    Args:
        license: SPDX expression of the licence that the voice is under, such as `CC-BY-4.0`.
        attribution: Whose speech the voice was trained on, and what their licence asks for.
        version: Version of the package.

    Raises:
        ExportError: A value is not one of these.
    """

    license: str
    attribution: str
    version: str = "1.0.0"

    def __post_init__(self) -> None:
        try:
            canonicalize_license_expression(self.license)
        except InvalidLicenseExpression as error:
            raise ExportError(
                f"license is {self.license!r}, expected an SPDX expression such as MIT, CC-BY-4.0 or "
                "LicenseRef-My-Own"
            ) from error
        try:
            Version(self.version)
        except InvalidVersion as error:
            raise ExportError(f"version is {self.version!r}, expected one such as 1.0.0") from error
        if not self.attribution.strip():
            raise ExportError("attribution is empty; say whose speech the voice was trained on")


def write_voice_package(
    bundle: Bundle, folder: Path, options: PackageOptions, report: Callable[[str], None] = lambda line: None
) -> Path:
    """Write a voice package, with its wheel, from a bundle.

    Takes the files that the manifest lists: no engines, and no voices that a user added.

    Args:
        bundle: The bundle.
        folder: Where the package goes. An older one there is replaced; any other folder that is not empty is
            refused.
        options: Its licence, attribution and version.
        report: Called with a line of progress.

    Returns:
        The wheel.

    Raises:
        ExportError: The folder cannot be written, or no wheel can be built.
        BundleError: A file of the bundle differs from its manifest.
    """
    if folder.exists() and not _is_package(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise ExportError(f"{folder} exists and is no voice package; give another folder, or remove it")
    slug = _slug(bundle.manifest.name)
    module = f"soundstorm_voice_{slug.replace('-', '_')}"
    try:
        with atomic_folder(folder) as work:
            _copy_bundle(bundle, work / module / BUNDLE_FOLDER)
            (work / module / "__init__.py").write_text(f'"""The voice {slug}: see the folder `bundle`."""\n')
            _write_metadata(bundle, work, slug, module, options)
            report("building the wheel")
            wheel = _build_wheel(work).relative_to(work)
    except OSError as error:
        raise ExportError(f"cannot write {folder} ({error.strerror}); give another folder") from error
    return folder / wheel


def default_folder(bundle: Bundle) -> Path:
    """Return where a voice package goes if no folder is named."""
    return Path(f"soundstorm-voice-{_slug(bundle.manifest.name)}")


def _slug(name: str) -> str:
    """Return a name in letters, digits and hyphens, as names of distributions and entry points are."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not slug:
        raise ExportError(f"the voice is called {name!r}, expected a name with letters or digits")
    return slug


def _is_package(folder: Path) -> bool:
    file = folder / "pyproject.toml"
    return file.is_file() and ENTRY_POINT_GROUP in file.read_text(encoding="utf-8", errors="replace")


def _copy_bundle(bundle: Bundle, folder: Path) -> None:
    for name in bundle.manifest.files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.file(name), target)
    shutil.copyfile(bundle.path / MANIFEST_FILE, folder / MANIFEST_FILE)


def _write_metadata(bundle: Bundle, folder: Path, slug: str, module: str, options: PackageOptions) -> None:
    manifest = bundle.manifest
    voices = f"voices {', '.join(manifest.prompts)}" if manifest.prompts else "one voice"
    values = {
        "hatchling": _HATCHLING,
        "group": ENTRY_POINT_GROUP,
        "slug": slug,
        "module": module,
        "name": manifest.name,
        "distribution": f"soundstorm-voice-{slug}",
        "version": options.version,
        "description": json.dumps(f"The voice {manifest.name} for SoundStorm Edge: {voices}"),
        "voices": voices,
        "rate": manifest.audio.sample_rate,
        "precisions": ", ".join(manifest.precisions),
        "megabytes": sum(record.size for record in manifest.files.values()) / 1e6,
        "license": canonicalize_license_expression(options.license),
        "attribution": options.attribution.strip(),
    }
    notice = "The voice {name} is under the licence {license}.\n\n{attribution}\n"
    for file, template in (("pyproject.toml", _PYPROJECT), ("README.md", _README), ("NOTICE", notice)):
        (folder / file).write_text(template.format(**values), encoding="utf-8")


def _build_wheel(folder: Path) -> Path:
    """Build the wheel of a package with the installed hatchling: nothing is fetched."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", WHEELS]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ExportError(f"the wheel cannot be built ({reason}); pip install '{_HATCHLING}'")
    (wheel,) = (folder / WHEELS).glob("*.whl")
    return wheel
