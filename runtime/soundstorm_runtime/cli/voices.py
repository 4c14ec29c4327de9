"""`soundstorm voices`: the speakers of a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..bundle.reader import read_bundle
from ..errors import BundleError
from ..support.command import Command, json_option, report
from .shared_options import bundle_argument


@click.command(cls=Command, example="soundstorm voices build/voice")
@bundle_argument
@json_option
def voices(bundle: Path, as_json: bool) -> None:
    """List the named voices of a bundle and the length of their prompts.

    These are the voices that BUNDLE was exported with and those added to its folder 'prompts'.
    """
    checked = read_bundle(bundle)
    prompts, manifest = checked.prompts(), checked.manifest
    rows: list[dict[str, object]] = []
    for name in prompts:
        row: dict[str, object] = {"name": name, "default": name == manifest.speaker}
        try:
            row["seconds"] = round(prompts[name].seconds(manifest), 3)
        except BundleError as error:  # the other voices can be used all the same
            row["problem"] = str(error)
        rows.append(row)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    if not rows:
        report("no named voices: the bundle speaks with the one voice that it was trained on")
    width = max(map(len, prompts), default=0)
    for row in rows:
        default = ", the default" if row["default"] else ""
        use = f"cannot be used: {row['problem']}" if "problem" in row else f"{row['seconds']:.1f} s{default}"
        click.echo(f"{row['name']:{width}}  {use}", err="problem" in row)
