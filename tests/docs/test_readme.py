"""The README keeps its word: its commands and snippets run, in order, in one folder.

A block behind `<!-- not run: why -->` installs or trains for hours; of those the commands are only checked.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import pytest

import soundstorm_edge.cli.commands
import soundstorm_export.cli.export
import soundstorm_runtime.cli
from soundstorm_edge.checkpoint import save_voice
from soundstorm_edge.training.recipe import load_recipe
from soundstorm_export.third_party import read_facts
from soundstorm_runtime.bundle.prompts import write_prompt
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.synthesis.prompt_encoder import PromptEncoder

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- (?P<note>[^>]*) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```", re.DOTALL)
COMMANDS: dict[str, click.Command] = {
    "soundstorm": soundstorm_runtime.cli.main_group,
    "soundstorm-train": soundstorm_edge.cli.commands.main_group,
    "soundstorm-export": soundstorm_export.cli.export.export,
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and whether it runs here."""

    language: str
    text: str
    runs: bool


def blocks(markdown: str) -> list[Block]:
    return [
        Block(found["language"], found["text"], not (found["note"] or "").startswith("not run: "))
        for found in BLOCK.finditer(markdown)
    ]


BLOCKS = blocks(README)
LINES = [
    shlex.split(line, comments=True)
    for block in BLOCKS
    if block.language == "bash" and not block.runs
    for line in block.text.splitlines()
]


@pytest.fixture
def workplace(tmp_path, tiny_bundle, tiny_voice):
    """What `make demo` leaves, with a tiny voice in place of the shipped one, and noise for its four."""
    bundle = tmp_path / "build" / "voice"
    shutil.copytree(tiny_bundle, bundle)
    maker, rng = PromptEncoder(read_bundle(bundle)), np.random.default_rng(0)
    noise = rng.uniform(-0.1, 0.1, 2 * tiny_voice.codec.sample_rate).astype(np.float32)
    prompts = dict.fromkeys(("rms", "slt", "awb", "kal16"), maker.tokenize(noise))
    for name, prompt in prompts.items():
        write_prompt(bundle / "prompts" / f"{name}.npz", prompt)
    (tmp_path / "voices").mkdir()
    save_voice(tmp_path / "voices" / "flite-multi.pt", replace(tiny_voice, prompts=prompts))
    return tmp_path


@pytest.fixture
def shell(environment, modules, tmp_path_factory):
    """An environment whose PATH has the three commands, installed or not."""
    folder = tmp_path_factory.mktemp("bin")
    for name, module in modules.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {module} "$@"\n')
        (folder / name).chmod(0o755)
    return environment | {"PATH": f"{folder}{os.pathsep}{environment['PATH']}"}


def test_the_snippets_run(workplace, shell):
    ran = set()
    for block in BLOCKS:
        interpreter = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}.get(
            block.language
        )
        if block.runs and interpreter:
            done = subprocess.run(
                [*interpreter, block.text],
                cwd=workplace,
                env=shell,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{block.text}\n{done.stderr}"
            ran.add(block.language)
    assert ran == {"bash", "python"}
    for name in ("hello.wav", "piped.wav", "letter.flac"):
        assert (workplace / name).stat().st_size > 1000


@pytest.mark.parametrize("line", [line for line in LINES if line and line[0] in COMMANDS], ids=shlex.join)
def test_commands_that_do_not_run_here_are_spelt_right(line):
    command, arguments = COMMANDS[line[0]], line[1:]
    if isinstance(command, click.Group):
        name, arguments = arguments[0], arguments[1:]
        command = command.get_command(click.Context(command), name)
        assert command is not None, name
    command.make_context(line[0], arguments)  # parses, and raises for what the command does not take


@pytest.mark.parametrize("line", [line for line in LINES if line and line[0] not in COMMANDS], ids=shlex.join)
def test_what_is_made_and_installed_is_there(line):
    if line[0] == "make":
        assert re.search(f"^{line[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    else:
        assert line[:2] == ["pip", "install"]
        extras = re.findall(r"\.\[([\w,]+)\]", line[2])
        for extra in ",".join(extras).split(",") if extras else ():
            assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def test_the_recipe_and_the_facts_are_valid(tmp_path):
    recipe, facts = (block.text for block in BLOCKS if block.language == "toml")
    (tmp_path / "recipe.toml").write_text(recipe)
    assert load_recipe(str(tmp_path / "recipe.toml")).name == "my-voice"
    (tmp_path / "facts.toml").write_text(facts)
    assert read_facts(tmp_path / "facts.toml").name == "borrowed"


def test_the_two_commands_come_first():
    assert re.findall(r"^make \w+", BLOCKS[0].text, re.MULTILINE) == ["make demo", "make test"]


def test_paths_that_are_named_exist():
    design = README[README.index("## Design") :]
    assert [
        path for path in re.findall(r"^(\S+/) ", design, re.MULTILINE) if not (ROOT / path).is_dir()
    ] == []


def test_every_stage_is_shown_in_its_order():
    shown = [line[1] for line in LINES if line and line[0] == "soundstorm-train"]
    assert shown[:6] == ["corpus", "codec", "units", "text", "acoustic", "assemble"]
    assert set(COMMANDS["soundstorm-train"].commands) == set(shown)  # type: ignore[attr-defined]


def test_a_note_before_a_block_keeps_it_from_running():
    assert blocks("<!-- not run: long -->\n```bash\nfalse\n```\n```bash\ntrue\n```\n") == [
        Block("bash", "false\n", False),
        Block("bash", "true\n", True),
    ]
