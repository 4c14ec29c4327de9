"""`soundstorm-export --tensorrt`: the options of engines, apart from those of the export."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from soundstorm_runtime.engines.graphs import Axis

from .engine_builder import BuildOptions


class Span(click.ParamType):
    """Three lengths that rise: the shortest, the one to tune for, the longest."""

    name = "MIN,OPT,MAX"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Axis:
        """Turn '1,500,1500' into an axis."""
        try:
            low, middle, high = (int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not three whole numbers such as 1,500,1500", param, ctx)
        if not 1 <= low <= middle <= high:
            self.fail(f"{value!r} does not rise from 1 or more", param, ctx)
        return Axis(low, middle, high)


def tensorrt_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of engines; the command gets them as `engines`, None without --tensorrt."""

    @click.option("--tensorrt", is_flag=True, help="Build TensorRT engines for this machine's GPU, too.")
    @click.option("--frames", type=Span(), help="Frames that engines take.  [default: what the bundle takes]")
    @click.option("--batch", type=Span(), help="Sentences at once that engines take.  [default: 1,1,4]")
    @click.option("--workspace", type=click.IntRange(min=1), help="MiB of the GPU that a layer may take.")
    @click.option(
        "--version-compatible", is_flag=True, help="Newer versions of TensorRT may run them, a little slower."
    )
    @click.option(
        "--hardware-compatible", is_flag=True, help="All cards since Ampere may run them, slower; no Jetson."
    )
    @functools.wraps(command)
    def with_engines(
        *arguments: Any,
        tensorrt: bool,
        frames: Axis | None,
        batch: Axis | None,
        workspace: int | None,
        version_compatible: bool,
        hardware_compatible: bool,
        **options: Any,
    ) -> Any:
        given = (frames, batch, workspace, version_compatible, hardware_compatible)
        if any(given) and not tensorrt:
            raise click.UsageError("options of engines were given, expected --tensorrt with them")
        return command(*arguments, engines=BuildOptions(*given) if tensorrt else None, **options)

    return with_engines
