"""`soundstorm-export --tensorrt` and `--tensorrt-rtx`: options of engines, apart from those of the export."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import click

from soundstorm_runtime.engines.graphs import Axis

from .engine_builder import BuildOptions

_USUAL = ("8.6", "8.9", "12.0")  # GeForce RTX 30, 40 and 50, and their RTX PRO


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


class Capabilities(click.ParamType):
    """Compute capabilities of GPUs, with commas between them."""

    name = "X.Y,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Turn '8.6,12.0' into its parts, the oldest first."""
        parts = {part.strip() for part in str(value).split(",")}
        if wrong := sorted(part for part in parts if not re.fullmatch(r"[1-9]\d?\.\d", part)):
            self.fail(f"{wrong[0]!r} is not a compute capability such as 8.6", param, ctx)
        return tuple(sorted(parts, key=float))


def tensorrt_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of engines; the command gets them as `engines`, None where none are to be built."""

    @click.option("--tensorrt", is_flag=True, help="Also build TensorRT engines for the GPU of this machine.")
    @click.option(
        "--tensorrt-rtx",
        is_flag=True,
        help="Also build engines of TensorRT for RTX, for GeForce RTX and RTX PRO; this needs no GPU.",
    )
    @click.option(
        "--compute-capability",
        "capabilities",
        type=Capabilities(),
        show_default=",".join(_USUAL),
        help="Compute capabilities of the GPUs that --tensorrt-rtx builds for.",
    )
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
        tensorrt_rtx: bool,
        capabilities: tuple[str, ...] | None,
        frames: Axis | None,
        batch: Axis | None,
        workspace: int | None,
        version_compatible: bool,
        hardware_compatible: bool,
        **options: Any,
    ) -> Any:
        given = (frames, batch, workspace, version_compatible, hardware_compatible)
        if tensorrt and tensorrt_rtx:
            raise click.UsageError("both --tensorrt and --tensorrt-rtx were given; give one, then the other")
        if any(given) and not (tensorrt or tensorrt_rtx):
            raise click.UsageError("options of engines were given, expected --tensorrt with them")
        if capabilities and not tensorrt_rtx:
            raise click.UsageError("--compute-capability was given, expected --tensorrt-rtx with it")
        if tensorrt_rtx and (version_compatible or hardware_compatible):
            raise click.UsageError(
                "--version-compatible and --hardware-compatible go with --tensorrt; those of --tensorrt-rtx "
                "run on every GPU that has a --compute-capability"
            )
        engines = None
        if tensorrt or tensorrt_rtx:
            engines = BuildOptions(*given, (capabilities or _USUAL) if tensorrt_rtx else ())
        return command(*arguments, engines=engines, **options)

    return with_engines
