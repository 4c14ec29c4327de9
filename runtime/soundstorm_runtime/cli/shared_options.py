"""Arguments and options that several commands share."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, get_args

import click
from click.shell_completion import CompletionItem

from ..audio.writers import Write, audio_file, wav_stream
from ..bundle.open_engines import PrecisionChoice, Provider
from ..bundle.voice_packages import VARIABLE, find_voice_package
from ..errors import TextError
from ..text.sentences import MAX_CHARACTERS

STANDARD_OUTPUT = "-"
MOST_BYTES = 4 * MAX_CHARACTERS + 3  # of a text: four for a character, and a byte-order mark

F = TypeVar("F", bound=Callable[..., Any])


class Numbers(click.ParamType):
    """Numbers with commas between them."""

    name = "N,N,..."

    def __init__(self, kind: type[int] | type[float]) -> None:
        self.kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Turn '16,1,1' into (16, 1, 1)."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.kind(part) for part in str(value).split(","))
        except ValueError:
            kind = "whole numbers such as 16,1,1" if self.kind is int else "numbers such as 2,5"
            self.fail(f"{value!r} is not a list of {kind}", param, ctx)


voice_pack_option = click.option(
    "--voice-pack",
    metavar="NAME",
    show_default=f"the one that is installed; the environment variable {VARIABLE} names one of several",
    help="Installed voice package to use in place of BUNDLE; 'soundstorm voices' lists them.",
)
voice_option = click.option(
    "--voice",
    show_default="the bundle's default",
    help="Name of a voice, as listed by 'soundstorm voices', a file made by 'soundstorm prompt', "
    "or a mixture such as anna:0.7,ben:0.3.",
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    help="Seed of the random numbers: the same seed, text and voice give the same audio.",
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    show_default="one for each processor, at most 8",
    help="Threads of the CPU engine.",
)
steps_option = click.option(
    "--steps",
    type=Numbers(int),
    show_default="those of the bundle",
    help="Decoding steps for each level, coarse to fine: more steps sound better and take longer; 0 leaves "
    "out a level and all finer ones.",
)
temperature_option = click.option(
    "--temperature",
    type=float,
    show_default="that of the bundle",
    help="Sampling temperature of the codes; lower values vary less.",
)
speed_option = click.option(
    "--speed", type=float, default=1.0, help="Speaking rate, 0.25 to 4; the pitch does not change."
)
volume_option = click.option(
    "--volume", type=float, default=1.0, help="Factor of the amplitude, 0 to 4; 1 is the voice's own."
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    help="Processes; they share the processors unless --threads is given.",
)
lexicon_option = click.option(
    "--lexicon",
    type=click.Path(path_type=Path),
    help='TOML file of pronunciations, such as nginx = "engine ex", or phones between slashes.',
)


def bundle_of(bundle: str | Path | None, voice_pack: str | None) -> Path:
    """Return the folder of a bundle: the one that was given, or that of an installed voice package."""
    if bundle is None:
        return find_voice_package(voice_pack).path
    if voice_pack is not None:
        raise click.UsageError("both BUNDLE and --voice-pack were given; give one of them")
    return Path(bundle)


def bundle_argument(command: F) -> F:
    """Add the argument BUNDLE, which may be left out, and --voice-pack; the command takes `bundle`."""

    @functools.wraps(command)
    def with_bundle(bundle: Path | None, voice_pack: str | None, **options: Any) -> Any:
        return command(bundle=bundle_of(bundle, voice_pack), **options)

    argument = click.argument("bundle", type=click.Path(path_type=Path), required=False)
    return argument(voice_pack_option(with_bundle))  # type: ignore[return-value]


def arguments_argument(metavar: str) -> Callable[[F], F]:
    """Add any number of arguments, for a command that finds out by itself which of them is BUNDLE."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]

    return click.argument("arguments", nargs=-1, metavar=metavar, shell_complete=complete)


def bundle_and_file(name: str, kind: click.ParamType) -> Callable[[F], F]:
    """Add the arguments [BUNDLE] NAME, a single one being NAME; the command takes `bundle` and `name`."""

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def with_both(arguments: Sequence[str], voice_pack: str | None, **options: Any) -> Any:
            if not 1 <= len(arguments) <= 2:
                raise click.UsageError(
                    f"{len(arguments)} arguments were given, expected [BUNDLE] {name.upper()}"
                )
            *bundle, file = arguments
            options[name] = kind.convert(file, None, click.get_current_context())
            return command(bundle=bundle_of(bundle[0] if bundle else None, voice_pack), **options)

        arguments = arguments_argument(f"[BUNDLE] {name.upper()}")
        return arguments(voice_pack_option(with_both))  # type: ignore[return-value]

    return decorate


def engine_options(command: F) -> F:
    """Add the options that choose where, and in which precision, a voice is computed."""
    provider = click.option(
        "--provider",
        "--engine",
        "provider",
        type=click.Choice(get_args(Provider)),
        default="auto",
        help="Where to compute; 'auto' takes the fastest that works on this machine and logs its choice.",
    )
    precision = click.option(
        "--precision",
        type=click.Choice(get_args(PrecisionChoice)),
        default="auto",
        help="Precision of the graphs; 'auto' takes the fastest that the bundle has for the provider.",
    )
    return threads_option(provider(precision(command)))


def open_output(output: str, sample_rate: int, *, raw: bool = False) -> AbstractContextManager[Write]:
    """Open a sound file, or standard output; yields a function that writes float32 samples.

    Args:
        output: Name of a file, or `STANDARD_OUTPUT`.
        sample_rate: Samples a second.
        raw: Whether standard output has no header.
    """
    if output == STANDARD_OUTPUT:
        return wav_stream(sys.stdout.buffer, sample_rate, header=not raw)
    return audio_file(Path(output), sample_rate)


def shown_output(output: str) -> str:
    """Return how messages call an output."""
    return "standard output" if output == STANDARD_OUTPUT else output


def read_utf8(file: BinaryIO, most: int = MOST_BYTES) -> str:
    """Read a whole file as UTF-8 text. Raises `TextError` for other bytes, and for more than `most`."""
    name = getattr(file, "name", "the input")
    content = file.read(most + 1)  # standard input may be endless
    if len(content) > most:
        raise TextError(f"{name} has more than {most} bytes; divide it into several parts")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(
            f"{name} is not UTF-8 text ({error.reason} at byte {error.start}); convert it"
        ) from error
