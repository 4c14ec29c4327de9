"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, get_args

import click

from ..bundle.open_engines import PrecisionChoice, Provider
from ..errors import TextError

F = TypeVar("F", bound=Callable[..., Any])


class Steps(click.ParamType):
    """Numbers with commas between them: passes of the network for each level, coarse to fine."""

    name = "N,N,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Turn '16,1,1' into (16, 1, 1)."""
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers such as 16,1,1", param, ctx)


bundle_argument = click.argument("bundle", type=click.Path(path_type=Path))
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="Threads to compute with.  [default: processors]"
)
steps_option = click.option(
    "--steps",
    type=Steps(),
    help="Steps for each level, coarse to fine; more are better and slower, 0 leaves the finest out.",
)
temperature_option = click.option(
    "--temperature", type=float, help="Of the sampled codes; lower is steadier."
)
speed_option = click.option(
    "--speed", type=float, default=1.0, show_default=True, help="0.5 to 2 times as fast; the pitch stays."
)
lexicon_option = click.option(
    "--lexicon",
    type=click.Path(path_type=Path),
    help='TOML file of pronunciations: nginx = "engine ex", or its phones between slashes.',
)


def engine_options(command: F) -> F:
    """Add the options that say where, and in which precision, a voice is computed."""
    provider = click.option(
        "--provider",
        "--engine",
        "provider",
        type=click.Choice(get_args(Provider)),
        default="auto",
        show_default=True,
        help="Where to compute; auto takes the best that works and says which.",
    )
    precision = click.option(
        "--precision",
        type=click.Choice(get_args(PrecisionChoice)),
        default="auto",
        show_default=True,
        help="Variant of the graphs; auto takes the fastest there that the bundle has, and says which.",
    )
    return threads_option(provider(precision(command)))


def read_utf8(file: BinaryIO) -> str:
    """Read all of a file as text. Raises `TextError` for bytes that are none."""
    try:
        return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        name = getattr(file, "name", "the input")
        raise TextError(
            f"{name} is not UTF-8 text ({error.reason} at byte {error.start}); convert it"
        ) from error
