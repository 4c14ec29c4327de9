"""`soundstorm doctor`: what this machine can run a voice with."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from ..bundle.open_engines import PrecisionChoice, Provider
from ..support.command import Command, json_option
from ..support.jetson import Jetson
from ..support.serde import to_dict
from ..tools.diagnosis import BundleCheck, Diagnosis, diagnose
from .shared_options import bundle_of, engine_options, voice_pack_option


@click.command(cls=Command, example="soundstorm doctor build/voice")
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@voice_pack_option
@json_option
@engine_options
def doctor(
    bundle: Path | None,
    voice_pack: str | None,
    as_json: bool,
    threads: int | None,
    provider: Provider,
    precision: PrecisionChoice,
) -> None:
    """Check which engines work on this machine.

    Lists the processor, the GPUs and the libraries, the provider that 'auto' chooses and why, and what to
    install for a faster one. If the folder BUNDLE or --voice-pack is given, each of its graphs is run once,
    and a graph on a GPU is compared with ONNX Runtime in fp32 on the CPU, with the same random numbers. The
    exit code is 1 if no engine works, or if the bundle does not run or its results differ.
    """
    if voice_pack is not None:
        bundle = bundle_of(bundle, voice_pack)
    diagnosis = diagnose(bundle, provider=provider, precision=precision, threads=threads)
    click.echo(json.dumps(to_dict(diagnosis), indent=2) if as_json else "\n".join(_lay_out(diagnosis)))
    if not diagnosis.is_well:
        sys.exit(1)


def _lay_out(diagnosis: Diagnosis) -> Iterator[str]:
    machine = diagnosis.machine
    memory = "memory unknown" if machine.memory_gb is None else f"{machine.memory_gb:g} GiB"
    yield f"machine    {machine.cpu}; {machine.cores} cores; {memory}; {machine.system}"
    yield f"           Python {machine.python}; instructions: {', '.join(machine.features) or 'unknown'}"
    yield f"gpu        {', '.join(machine.gpus) or 'none seen'}"
    if diagnosis.jetson is not None:
        yield from _lay_out_jetson(diagnosis.jetson)
    for name, found in diagnosis.cuda.items():
        yield f"cuda       {name:16} {found or 'absent'}"
    for name, version in diagnosis.libraries.items():
        yield f"library    {name:16} {version or 'absent'}"
    yield f"engine     ONNX Runtime runs on: {', '.join(diagnosis.providers) or 'nothing'}"
    yield f"           TensorRT: {diagnosis.tensorrt or f'no ({diagnosis.tensorrt_problem})'}"
    yield f"auto       {diagnosis.auto}"
    for line in diagnosis.advice:
        yield f"advice     {line}"
    if diagnosis.bundle:
        yield from _lay_out_bundle(diagnosis.bundle)


def _lay_out_jetson(jetson: Jetson) -> Iterator[str]:
    yield f"jetson     {jetson.board}; Jetson Linux {jetson.release or 'unknown'}"
    modes = f" of {', '.join(jetson.power_modes)}" if jetson.power_modes else ""
    yield f"           power mode {jetson.power_mode or 'unknown'}{modes}"
    for name, clock in (("GPU", jetson.gpu), ("CPU", jetson.cpu)):
        if clock is not None:
            range_ = "fixed" if clock.is_fixed else f"from {clock.least} to {clock.most} MHz"
            yield f"           {name} clock {clock.now} MHz, {range_}"
    if jetson.free_mb is not None:
        swap = "" if jetson.swap_mb is None else f"; swap {jetson.swap_mb} MiB, not for the GPU"
        yield f"           {jetson.free_mb} MiB free for CPU and GPU{swap}"


def _lay_out_bundle(check: BundleCheck) -> Iterator[str]:
    yield f"bundle     {check.path}: {', '.join(check.precisions) or 'cannot be read'}"
    if check.problem:
        yield f"problem    {check.problem}"
        return
    yield f"           on {check.engine}, {check.precision} ({check.reason})"
    for name, graph in check.graphs.items():
        result = f"ran in {graph.milliseconds} ms" if graph.problem is None else f"problem: {graph.problem}"
        if (by := graph.difference) is not None:
            result += f"; from fp32 on the CPU {by.largest:.1e}, integers equal {by.agreement:.2%}"
        if graph.on_gpu is not None:
            result += f"; {graph.on_gpu:.0%} of its nodes on the GPU"
        yield f"graph      {name:16} {graph.file}: {result}"
