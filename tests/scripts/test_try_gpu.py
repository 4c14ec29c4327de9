"""What is run on a machine with a GPU: every command is spelt right, and one that fails ends nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

import soundstorm_export.cli.export
import soundstorm_runtime.cli
from scripts.try_gpu import PROVIDERS, commands, run_all

COMMANDS = {
    "soundstorm_runtime.cli": soundstorm_runtime.cli.main_group,
    "soundstorm_export.cli": soundstorm_export.cli.export.export,
}


def test_every_command_takes_its_options() -> None:
    lines = commands(Path("ckpt.pt"), Path("tried"))
    assert {
        f"{kind}-{provider}" for provider in PROVIDERS for kind in ("doctor", "say", "bench")
    } < lines.keys()
    for line in lines.values():
        command, arguments = COMMANDS.get(line[2] if len(line) > 2 else ""), list(line[3:])
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), arguments.pop(0))
            assert command is not None
        if command is not None:
            command.make_context("try", arguments)  # parses, and raises for what the command does not take


def test_a_command_that_fails_does_not_end_the_others(tmp_path: Path) -> None:
    def python(code: str) -> list[str]:
        return [sys.executable, "-c", code]

    lines = {
        "absent": ["no-such-program"],
        "slow": python("import time; time.sleep(60)"),
        "wrong": python("import sys; sys.exit('broken')"),
        "right": python("print('fine')"),
    }
    outcomes = run_all(lines, tmp_path, timeout=5)
    assert [outcome.code for outcome in outcomes.values()] == [None, None, 1, 0]
    assert (tmp_path / "wrong.txt").read_text().endswith("broken\n")
    assert (tmp_path / "right.txt").read_text().endswith("fine\n")
    assert json.loads((tmp_path / "summary.json").read_text())["right"]["code"] == 0
