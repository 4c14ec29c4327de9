"""The command line of the runtime: `soundstorm say` and `soundstorm info`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, get_args

import click

from .audio import Write, audio_file, wav_stream
from .bundle import Bundle, read_bundle
from .command import run, version_option
from .errors import TextError
from .onnx_engine import Provider
from .text import split_sentences
from .voice import Voice


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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@version_option
def main_group() -> None:
    """Speak with an exported SoundStorm voice."""


@main_group.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("text", required=False)
@click.option("-f", "--file", type=click.File("rb"), help="Read the text from a UTF-8 file.")
@click.option(
    "-o",
    "--output",
    default="out.wav",
    show_default=True,
    help="File to write, .wav or .flac; - streams a WAV to standard output.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the sampling."
)
@click.option(
    "--steps", type=Steps(), help="Steps for each level, coarse to fine; more are better and slower."
)
@click.option("--temperature", type=float, help="Of the sampled codes; lower is steadier.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads to compute with.  [default: processors]")
@click.option(
    "--provider",
    type=click.Choice(get_args(Provider)),
    default="auto",
    show_default=True,
    help="Where to compute; auto takes the best that works and says which.",
)
def say(
    bundle: Path,
    text: str | None,
    file: BinaryIO | None,
    output: str,
    seed: int,
    steps: tuple[int, ...] | None,
    temperature: float | None,
    threads: int | None,
    provider: Provider,
) -> None:
    """Speak TEXT with the voice in the folder BUNDLE.

    The text is read from standard input where it is not given, or is -.
    """
    text = _read_text(text, file)
    count = len(split_sentences(text))  # before the voice is loaded: a bad text fails at once
    voice = Voice.load(bundle, threads=threads, provider=provider)
    sentences = voice.speak_sentences(text, seed=seed, steps=steps, temperature=temperature)
    samples, started = 0, time.perf_counter()
    with _open_output(output, voice.sample_rate) as write:
        for audio in _with_progress(sentences, count):
            write(audio)
            samples += len(audio)
    took, seconds = time.perf_counter() - started, samples / voice.sample_rate
    name = "standard output" if output == "-" else output
    click.echo(f"{name}: {seconds:.2f} s of audio in {took:.2f} s, RTF {took / seconds:.3f}", err=True)


@main_group.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the whole manifest as JSON.")
def info(bundle: Path, as_json: bool) -> None:
    """Check the voice in the folder BUNDLE and describe it."""
    checked = read_bundle(bundle)
    click.echo(checked.manifest.to_json() if as_json else "\n".join(_describe(checked)), nl=not as_json)


def _read_text(text: str | None, file: BinaryIO | None) -> str:
    if text is not None and file is not None:
        raise click.UsageError("both TEXT and --file were given; give one of them")
    if file is None and text is not None and text != "-":
        return text
    source = file or sys.stdin.buffer
    try:
        return source.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        name = getattr(source, "name", "the text")
        raise TextError(
            f"{name} is not UTF-8 text ({error.reason} at byte {error.start}); convert it"
        ) from error


def _open_output(output: str, sample_rate: int) -> AbstractContextManager[Write]:
    if output == "-":
        return wav_stream(sys.stdout.buffer, sample_rate)
    return audio_file(Path(output), sample_rate)


def _with_progress(sentences: Iterator[Any], count: int) -> Iterator[Any]:
    """Show a bar on standard error where a person watches it and there is something to wait for."""
    if count == 1 or not sys.stderr.isatty():
        yield from sentences
        return
    with click.progressbar(sentences, length=count, label="sentences", file=sys.stderr) as bar:
        yield from bar


def _describe(bundle: Bundle) -> Iterator[str]:
    """Lay out what the manifest says, for people."""
    manifest = bundle.manifest
    audio, semantic, decode, text = manifest.audio, manifest.semantic, manifest.decode, manifest.text
    yield f"voice     {manifest.name}, made by {manifest.producer}"
    yield (
        f"audio     {audio.sample_rate} Hz, {audio.codec} codec, hop {audio.hop}, "
        f"{audio.levels} levels of {audio.codebook_size} codes"
    )
    yield f"semantic  {semantic.vocabulary} tokens at {semantic.rate} Hz"
    yield f"text      {text.kind}, {len(text.symbols)} phones"
    yield (
        f"decode    steps {','.join(map(str, decode.steps))}, {decode.schedule} schedule, "
        f"temperature {decode.temperature}, noise {decode.noise}"
    )
    width = max(map(len, manifest.graphs))
    for name, graph in manifest.graphs.items():
        parity, size = manifest.parity[name], manifest.files[graph.file].size
        yield (
            f"graph     {name:{width}}  {size / 1e6:8.2f} MB  error {parity.largest_error:.1e} at most, "
            f"{parity.tolerance:.1e} allowed, {parity.agreement:.2%} of integers equal, "
            f"cases: {len(parity.cases)}"
        )


def main() -> None:
    """Run the command line and exit."""
    run(main_group)


if __name__ == "__main__":
    main()
