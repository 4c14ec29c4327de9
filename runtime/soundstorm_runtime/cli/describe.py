"""`soundstorm info` and `soundstorm voices`: what a bundle is and who speaks in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from ..bundle.manifest import GraphSchema, Manifest, ParityReport, SpeechReport
from ..bundle.reader import Bundle, read_bundle
from ..errors import BundleError
from .shared_options import bundle_argument


@click.command()
@bundle_argument
@click.option("--json", "as_json", is_flag=True, help="Print the whole manifest as JSON.")
def info(bundle: Path, as_json: bool) -> None:
    """Check the voice in the folder BUNDLE and describe it."""
    checked = read_bundle(bundle)
    click.echo(checked.manifest.to_json() if as_json else "\n".join(_describe(checked)), nl=not as_json)


@click.command()
@bundle_argument
def voices(bundle: Path) -> None:
    """List the named voices of the folder BUNDLE, each with the seconds of its prompt.

    They are those that it came with, and those that were put into its folder prompts.
    """
    checked = read_bundle(bundle)
    prompts, manifest = checked.prompts(), checked.manifest
    if not prompts:
        click.echo("no named voices: the bundle speaks with the one voice it was trained on", err=True)
    width = max(map(len, prompts), default=0)
    for name in prompts:
        usual = ", unless another is asked for" if name == manifest.speaker else ""
        try:
            click.echo(f"{name:{width}}  {prompts[name].seconds(manifest):.1f} s{usual}")
        except BundleError as error:  # the others are good all the same
            click.echo(f"{name:{width}}  cannot be used: {error}", err=True)


def _describe(bundle: Bundle) -> Iterator[str]:
    """Lay out what the manifest says, for people."""
    manifest = bundle.manifest
    audio, semantic, decode, text = manifest.audio, manifest.semantic, manifest.decode, manifest.text
    yield f"voice     {manifest.name}, made by {manifest.producer}"
    if prompts := bundle.prompts():
        yield f"voices    {', '.join(prompts)}"
    yield (
        f"audio     {audio.sample_rate} Hz, {audio.codec} codec, hop {audio.hop}, "
        f"{audio.levels} levels of {audio.codebook_size} codes"
    )
    yield f"semantic  {semantic.vocabulary} tokens at {semantic.rate} Hz"
    hearing = manifest.hearing
    if hearing is None:
        yield "prompts   none can be made of recordings"
    else:
        yield (
            f"prompts   of recordings; over {hearing.seconds:.0f} s {hearing.equal_codes:.2%} of codes and "
            f"{hearing.equal_tokens:.2%} of tokens equal, others {hearing.excess:.1e} further off at most"
        )
    reads = f"{text.kind}, {len(text.symbols)} phones" if text else "none, it takes semantic tokens"
    yield f"text      {reads}"
    yield (
        f"decode    steps {','.join(map(str, decode.steps))}, {decode.schedule} schedule, "
        f"temperature {decode.temperature}, noise {decode.noise}"
    )
    yield from _describe_graphs(manifest, "fp32", manifest.graphs, manifest.parity)
    if manifest.cpu is not None:  # what speaks fp32 on a CPU; it shares the weights
        yield from _describe_graphs(manifest, "fp32 cpu", manifest.cpu.graphs, manifest.cpu.parity)
    for precision, variant in manifest.variants.items():
        yield from _describe_graphs(manifest, precision, variant.graphs, variant.parity)
        if variant.speech is not None:
            yield f"{precision:8}  {_heard(variant.speech)}"


def _describe_graphs(
    manifest: Manifest, form: str, files: Mapping[str, str | GraphSchema], parity: Mapping[str, ParityReport]
) -> Iterator[str]:
    width = max(map(len, manifest.graphs))
    for name, facts in parity.items():
        file = files[name]
        used = [file] if isinstance(file, str) else [file.file, *filter(None, [file.weights])]
        megabytes = sum(manifest.files[each].size for each in used) / 1e6
        yield f"{form:8}  {name:{width}}  {megabytes:8.2f} MB  {_told(facts)}"


def _heard(speech: SpeechReport) -> str:
    rates = (speech.word_error_rate, speech.word_error_rate_fp32)
    words = "" if None in rates else ", word error rate {:.1f} % where fp32 has {:.1f} %".format(*rates)
    return (
        f"beside fp32 over {speech.sentences} sentences: spectral distance "
        f"{speech.spectral_distance:.2f} dB{words}"
    )


def _told(parity: ParityReport) -> str:
    return (
        f"error {parity.largest_error:.1e} at most, {parity.tolerance:.1e} allowed, "
        f"{parity.agreement:.2%} of integers equal, cases: {len(parity.cases)}"
    )
