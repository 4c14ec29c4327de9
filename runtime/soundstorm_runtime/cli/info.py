"""`soundstorm info`: what a bundle holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from ..bundle.manifest import GraphSchema, Manifest, ParityReport, SpeechReport
from ..bundle.reader import Bundle, read_bundle
from ..support.command import Command, json_option, printable
from .shared_options import bundle_argument


@click.command(cls=Command, example="soundstorm info build/voice")
@bundle_argument
@json_option
def info(bundle: Path, as_json: bool) -> None:
    """Check a bundle and describe it.

    Every file in the folder BUNDLE, or of an installed voice, is compared with the size and the hash in its
    manifest. --json prints the whole manifest.
    """
    checked = read_bundle(bundle)
    click.echo(checked.manifest.to_json() if as_json else "\n".join(_describe(checked)), nl=not as_json)


def _describe(bundle: Bundle) -> Iterator[str]:
    """Lay out the manifest for people."""
    manifest = bundle.manifest
    audio, semantic, decode, text = manifest.audio, manifest.semantic, manifest.decode, manifest.text
    yield f"voice     {manifest.name}, made by {manifest.producer}"
    if manifest.notice:
        yield f"notice    {manifest.notice}"
    if prompts := bundle.prompts():
        yield f"voices    {printable(', '.join(prompts))}"
    yield (
        f"audio     {audio.sample_rate} Hz, {audio.codec} codec, hop {audio.hop}, "
        f"{audio.levels} levels of {audio.codebook_size} codes"
    )
    yield f"semantic  {semantic.vocabulary} tokens at {semantic.rate} Hz"
    hearing = manifest.hearing
    if hearing is None:
        yield "prompts   cannot be made from recordings"
    else:
        yield (
            f"prompts   can be made from recordings; over {hearing.seconds:.0f} s, "
            f"{hearing.equal_codes:.2%} of codes and {hearing.equal_tokens:.2%} of tokens equal PyTorch's, "
            f"the others are at most {hearing.excess:.1e} farther from the signal"
        )
    reads = f"{text.kind}, {len(text.symbols)} phones" if text else "none, it takes semantic tokens"
    yield f"text      {reads}"
    yield (
        f"decode    steps {','.join(map(str, decode.steps))}, {decode.schedule} schedule, "
        f"temperature {decode.temperature}, noise {decode.noise}"
    )
    yield from _describe_graphs(manifest, "fp32", manifest.graphs, manifest.parity)
    for name, form in (("fp32 cpu", manifest.cpu), ("fp16 cuda", manifest.cuda)):  # with the same weights
        if form is not None:
            yield from _describe_graphs(manifest, name, form.graphs, form.parity)
    for precision, variant in manifest.variants.items():
        yield from _describe_graphs(manifest, precision, variant.graphs, variant.parity)
        if variant.speech is not None:
            yield f"{precision:8}  {_speech_line(variant.speech)}"


def _describe_graphs(
    manifest: Manifest, form: str, files: Mapping[str, str | GraphSchema], parity: Mapping[str, ParityReport]
) -> Iterator[str]:
    width = max(map(len, manifest.graphs))
    for name, reported in parity.items():
        file = files[name]
        used = [file] if isinstance(file, str) else [each for each in (file.file, file.weights) if each]
        if not used:  # the other precisions have it
            continue
        megabytes = sum(manifest.files[each].size for each in used) / 1e6
        yield f"{form:8}  {name:{width}}  {megabytes:8.2f} MB  {_parity_line(reported)}"


def _speech_line(speech: SpeechReport) -> str:
    rates = (speech.word_error_rate, speech.word_error_rate_fp32)
    words = "" if None in rates else ", word error rate {:.1f} % (fp32: {:.1f} %)".format(*rates)
    return (
        f"compared with fp32 over {speech.sentences} sentences: spectral distance "
        f"{speech.spectral_distance:.2f} dB{words}"
    )


def _parity_line(parity: ParityReport) -> str:
    return (
        f"error {parity.largest_error:.1e} at most, {parity.tolerance:.1e} allowed, "
        f"{parity.agreement:.2%} of integers equal, cases: {len(parity.cases)}"
    )
