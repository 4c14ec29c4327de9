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

    @click.option("--tensorrt", is_flag=True, help="Also build TensorRT engines for the GPU of this machine.")
    @click.option(
        "--frames", type=Span(), show_default="those of the bundle", help="Range of frames of the engines."
    )
    @click.option("--batch", type=Span(), show_default="1,1,4", help="Range of batch sizes of the engines.")
    @click.option(
        "--workspace",
        type=click.IntRange(min=1),
        show_default="TensorRT's own limit",
        help="Memory of the GPU in MiB that a layer may use while it is computed.",
    )
    @click.option(
        "--version-compatible",
        is_flag=True,
        help="Build engines that newer versions of TensorRT can run; slightly slower.",
    )
    @click.option(
        "--hardware-compatible",
        is_flag=True,
        help="Build engines that every GPU since Ampere can run; slower, and not for a Jetson.",
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
