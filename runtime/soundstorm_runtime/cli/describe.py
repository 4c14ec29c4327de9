"""`soundstorm info` and `soundstorm voices`: what a bundle is and who speaks in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from ..bundle import Bundle, read_bundle
from ..errors import BundleError
from ..manifest import ParityFacts, Precision
from .options import bundle_argument


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
    for precision in manifest.precisions:
        yield from _describe_graphs(bundle, precision)


def _describe_graphs(bundle: Bundle, precision: Precision) -> Iterator[str]:
    manifest = bundle.manifest
    variant = None if precision == "fp32" else manifest.variants[precision]
    parity = manifest.parity if variant is None else variant.parity
    width = max(map(len, manifest.graphs))
    for name, facts in parity.items():
        file = bundle.graph_file(name, precision).relative_to(bundle.path).as_posix()
        megabytes = manifest.files[file].size / 1e6
        yield f"{precision:8}  {name:{width}}  {megabytes:8.2f} MB  {_told(facts)}"
    if variant and variant.speech:
        speech = variant.speech
        rates = (speech.word_error_rate, speech.word_error_rate_fp32)
        words = "" if None in rates else ", word error rate {:.1f} % where fp32 has {:.1f} %".format(*rates)
        yield (
            f"{precision:8}  beside fp32 over {speech.sentences} sentences: spectral distance "
            f"{speech.spectral_distance:.2f} dB{words}"
        )


def _told(parity: ParityFacts) -> str:
    return (
        f"error {parity.largest_error:.1e} at most, {parity.tolerance:.1e} allowed, "
        f"{parity.agreement:.2%} of integers equal, cases: {len(parity.cases)}"
    )
