"""Try everything that needs a GPU, on a machine that has one: python -m scripts.try_gpu CHECKPOINT FOLDER.

Every command runs to its end, whether or not those before it succeeded; what it printed goes to a file of its
own, and `summary.json` has exit codes and seconds. TensorRT is tried where its Python package is installed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SENTENCE = "The train to the coast was late again this morning."
PROVIDERS = ("cpu", "cuda", "tensorrt", "rtx", "onnx-tensorrt")


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code, None where it did not start or ran out of time."""

    code: int | None
    seconds: float


def commands(checkpoint: Path, folder: Path) -> dict[str, list[str]]:
    """Return the command lines by name, in order; each may use what those before it wrote."""
    voice = folder / "voice"

    def module(name: str, *arguments: object) -> list[str]:
        return [sys.executable, "-m", name, *map(str, arguments)]

    runtime, export = "soundstorm_runtime.cli", "soundstorm_export.cli"
    found = {
        "driver": ["nvidia-smi"],
        "doctor": module(runtime, "doctor"),
        "tests": module("pytest", "-m", "gpu", "-rs", "tests"),
        "export": module(export, checkpoint, "-o", voice, "--precision", "fp16", "--precision", "bf16"),
        "engines-fp16": module(export, voice, "--tensorrt", "--precision", "fp16"),
        "engines-bf16": module(export, voice, "--tensorrt", "--precision", "bf16"),
    }
    for provider in PROVIDERS:
        found[f"doctor-{provider}"] = module(runtime, "doctor", voice, "--provider", provider)
        sound = folder / f"{provider}.wav"
        found[f"say-{provider}"] = module(
            runtime, "say", voice, SENTENCE, "-o", sound, "--provider", provider, "--seed", 0
        )
        found[f"bench-{provider}"] = module(runtime, "bench", voice, "--provider", provider)
    found["paper"] = module("benchmarks.gpu", "--out", folder / "gpu.json")
    return found


def run_all(lines: Mapping[str, Sequence[str]], folder: Path, timeout: float) -> dict[str, Outcome]:
    """Run commands one after the other; write the output of each to `<name>.txt`, and the summary."""
    folder.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, Outcome] = {}
    for name, line in lines.items():
        started, code = time.perf_counter(), None
        with (folder / f"{name}.txt").open("w", encoding="utf-8") as file:
            print("$", *line, file=file, flush=True)
            try:
                code = subprocess.run(
                    line, stdout=file, stderr=subprocess.STDOUT, timeout=timeout, check=False
                ).returncode
            except (OSError, subprocess.TimeoutExpired) as error:
                print(error, file=file)
        outcomes[name] = Outcome(code, round(time.perf_counter() - started, 1))
        print(f"{name:22} {'not finished' if code is None else code:>12} {outcomes[name].seconds:8.1f} s")
        summary = {key: asdict(outcome) for key, outcome in outcomes.items()}
        (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return outcomes


def main() -> None:
    """Run all commands."""
    parser = argparse.ArgumentParser(description="Try everything that needs a GPU.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--timeout", type=float, default=600, help="seconds for each command")
    given = parser.parse_args()
    run_all(commands(given.checkpoint, given.folder), given.folder, given.timeout)


if __name__ == "__main__":
    main()
