"""The documentation keeps its word: commands and snippets run, and what it names exists.

A block behind `<!-- not run: why -->` installs, trains for hours or needs other hardware; of those the
commands are only parsed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest

import soundstorm_edge.cli.commands
import soundstorm_export.cli.export
import soundstorm_runtime.cli
from soundstorm_edge.checkpoint import save_voice
from soundstorm_edge.training.recipe import load_recipe
from soundstorm_export.third_party import read_config
from soundstorm_runtime.bundle.manifest import Manifest
from soundstorm_runtime.bundle.prompts import write_prompt
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.bundle.voice_packages import VARIABLE
from soundstorm_runtime.synthesis.prompt_encoder import PromptEncoder
from soundstorm_runtime.text.sentences import split_sentences
from tests.docs.pages import PAGES, README, ROOT, Block, blocks, code_spans, links
from tests.installed_voice import install_voice
from tests.packaging.test_rooms import ROOMS

COMMANDS: dict[str, click.Command] = {
    "soundstorm": soundstorm_runtime.cli.main_group,
    "soundstorm-train": soundstorm_edge.cli.commands.main_group,
    "soundstorm-export": soundstorm_export.cli.export.export,
}
PACKAGES = ("", "runtime/soundstorm_runtime", "export/soundstorm_export", "soundstorm_edge")
PORT = "8765"  # of the server in the pages
VOICE_PACK = "of-the-pages"

TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
BLOCKS = [(page, block) for page, text in TEXTS.items() for block in blocks(text)]
ONLY_PARSED = [
    words
    for _, block in BLOCKS
    if block.language == "bash" and not block.runs
    for words in block.commands
    if words[0] in COMMANDS
]


def name_of(value: object) -> str | None:
    """Name a page or a block in the output of pytest."""
    if isinstance(value, Path):
        return value.relative_to(ROOT).as_posix()
    return f"line {value.line}" if isinstance(value, Block) else None


@pytest.fixture(scope="module")
def demo(tiny_bundle, tiny_voice, tmp_path_factory):
    """What `make demo-export` leaves, with a tiny voice for the shipped one, and noise for its speakers.

    The voice is also installed, in the folder `site`.
    """
    folder = tmp_path_factory.mktemp("demo")
    bundle = folder / "build" / "voice"
    shutil.copytree(tiny_bundle, bundle)
    encoder, rng = PromptEncoder(read_bundle(bundle)), np.random.default_rng(0)
    noise = rng.uniform(-0.1, 0.1, 2 * tiny_voice.codec.sample_rate).astype(np.float32)
    prompts = dict.fromkeys(("rms", "slt", "awb", "kal16"), encoder.tokenize(noise))
    for name, prompt in prompts.items():
        write_prompt(bundle / "prompts" / f"{name}.npz", prompt)
    (folder / "voices").mkdir()
    save_voice(folder / "voices" / "flite-multi.pt", replace(tiny_voice, prompts=prompts))
    install_voice(folder / "site", VOICE_PACK, bundle)
    return folder


@pytest.fixture
def folder(demo, tmp_path, monkeypatch):
    """A copy of that folder, which is the working directory."""
    shutil.copytree(demo, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv(VARIABLE, VOICE_PACK)
    return tmp_path


@pytest.fixture
def shell(environment, modules, folder, tmp_path_factory):
    """An environment with the three commands, installed or not, and an installed voice."""
    paths = os.pathsep.join([str(folder / "site"), environment["PYTHONPATH"]])
    commands = tmp_path_factory.mktemp("bin")
    for name, module in modules.items():
        (commands / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {module} "$@"\n')
        (commands / name).chmod(0o755)
    return environment | {
        "PATH": f"{commands}{os.pathsep}{environment['PATH']}", "PYTHONPATH": paths, VARIABLE: VOICE_PACK
    }  # fmt: skip


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


RUNNING = [page for page in PAGES if any(block.runs for block in blocks(TEXTS[page]))]


@pytest.mark.parametrize("page", RUNNING, ids=name_of)
def test_the_snippets_of_a_page_run_in_order(page, folder, shell):
    port = free_port()
    for block in blocks(TEXTS[page]):
        text = block.text.replace(PORT, port)
        if block.runs and block.language == "python":
            exec(compile(text, f"{page}, line {block.line}", "exec"), {"__name__": "__main__"})
        elif block.runs:
            command = ["bash", "-euo", "pipefail", "-c", text]
            done = subprocess.run(command, cwd=folder, env=shell, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{page}, line {block.line}\n{text}\n{done.stderr}"


def test_the_readme_speaks_streams_and_exports():
    ran = "".join(block.text for block in blocks(TEXTS[README]) if block.runs)
    for expected in ("soundstorm say", "soundstorm-export", "voice.speak(", "voice.stream("):
        assert expected in ran


@pytest.mark.parametrize("line", ONLY_PARSED, ids=shlex.join)
def test_commands_that_do_not_run_here_are_spelt_right(line):
    command, arguments = COMMANDS[line[0]], line[1:]
    if isinstance(command, click.Group) and not arguments[0].startswith("-"):
        name, arguments = arguments[0], arguments[1:]
        command = command.get_command(click.Context(command), name)
        assert command is not None, name
    if arguments not in (["--help"], ["--version"]):
        command.make_context(line[0], arguments)  # parses, and raises for what the command does not take


@pytest.mark.parametrize(("page", "block"), [(p, b) for p, b in BLOCKS if b.language == "bash"], ids=name_of)
def test_targets_and_extras_that_are_named_exist(page, block):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    known = re.findall(r"^([\w-]+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    for words in block.commands:
        if words[0] == "make":
            assert [word for word in words[1:] if "=" not in word and word not in targets] == []
        if words[:2] == ["pip", "install"]:
            named = ",".join(re.findall(r"(?:\.|soundstorm-edge)\[([\w,-]+)\]", " ".join(words)))
            assert set(named.split(",")) - {""} <= set(known)


def test_the_quick_start_names_every_extra():
    rows = re.findall(r"^\| (`.*?) \|", TEXTS[ROOT / "docs" / "quick-start.md"], re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row)}
    _, _, extras = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]\n")
    known = re.findall(r"^([\w-]+) = \[", extras.partition("\n[")[0], re.MULTILINE)
    assert "serve" in known
    assert sorted(set(known) - named) == []


@pytest.mark.parametrize(
    ("page", "block"), [(p, b) for p, b in BLOCKS if b.language in ("toml", "json")], ids=name_of
)
def test_data_in_a_page_is_valid(page, block, tmp_path):
    if block.language == "json":
        json.loads(block.text)
        return
    file = tmp_path / "file.toml"
    file.write_text(block.text, encoding="utf-8")
    check = {"recipe": lambda: load_recipe(str(file)), "export config": lambda: read_config(file)}
    assert block.note in check, "say above the block what it is: <!-- recipe --> or <!-- export config -->"
    check[block.note]()


def options_of(command: click.Command) -> Iterator[str]:
    """Give the options of a command and of those below it."""
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from options_of(below)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_that_are_named_exist(page):
    known = {"--help", "--version"} | {o for command in COMMANDS.values() for o in options_of(command)}
    if page.parent.name == "benchmarks":
        sources = "".join(file.read_text(encoding="utf-8") for file in page.parent.glob("*.py"))
        known |= set(re.findall(r'"(--[\w-]+)"', sources))
    named = {
        option
        for span in code_spans(TEXTS[page])
        if span.startswith("--") or span.split()[0] in COMMANDS
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)
    }
    assert named - known == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_that_are_named_exist(page):
    tops = {entry.name for package in PACKAGES for entry in (ROOT / package).iterdir() if entry.is_dir()}
    tops -= {"build", "runs"}
    paths = [span for span in code_spans(TEXTS[page]) if re.fullmatch(r"[\w.-]+/[\w./-]*", span)]
    missing = [
        path
        for path in paths
        if path.split("/")[0] in tops and not any((ROOT / package / path).exists() for package in PACKAGES)
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    broken = [link for link in links(TEXTS[page]) if not (page.parent / link).exists()]
    assert broken == []


def test_the_readme_begins_with_the_two_commands_and_is_short():
    text = TEXTS[README]
    assert re.findall(r"^make \w+", blocks(text)[0].text, re.MULTILINE) == ["make demo", "make test"]
    assert len(text.split()) <= 1200


def test_examples_of_reading_are_read_so():
    rows = re.findall(r"^\| [a-z ]+ \| (`.+`) \| (.+) \|$", TEXTS[ROOT / "docs" / "text.md"], re.MULTILINE)
    assert rows
    for written, spoken in rows:
        for text, expected in zip(re.findall(r"`([^`]+)`", written), spoken.split("; "), strict=True):
            (sentence,) = split_sentences(text)
            assert " ".join(word.text for word in sentence.words) == expected


def test_the_architecture_has_the_rooms_and_their_arrows():
    text = TEXTS[ROOT / "docs" / "architecture.md"]
    rooms = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]*)\|$", text, re.MULTILINE)
    shown = [(room, re.findall(r"`(\w+)`", arrows)) for room, arrows in rooms]
    tables = [(room, table.split()) for package in ROOMS.values() for room, table in package.items()]
    assert shown == [(room, [name for name in names if name != "errors"]) for room, names in tables]


def test_the_bundle_format_has_every_key_of_the_manifest():
    text = TEXTS[ROOT / "docs" / "bundle-format.md"]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE)
    keys = {key for row in rows for key in re.findall(r"\w+", row)}
    assert keys >= {field.name for field in dataclasses.fields(Manifest)}


def test_every_training_stage_is_shown():
    page = ROOT / "docs" / "training.md"
    lines = [words for block in blocks(TEXTS[page]) for words in block.commands if block.language == "bash"]
    shown = [words[1] for words in lines if words[0] == "soundstorm-train"]
    assert shown[:6] == ["corpus", "codec", "units", "text", "acoustic", "assemble"]
    group = COMMANDS["soundstorm-train"]
    assert isinstance(group, click.Group)
    assert {name for name, command in group.commands.items() if not command.hidden} <= set(shown)


def test_a_note_before_a_block_keeps_it_from_running():
    page = "<!-- not run: long -->\n```bash\nfalse\n```\n```bash\na \\\n  b\n```\n"
    assert [(block.runs, block.commands, block.line) for block in blocks(page)] == [
        (False, [["false"]], 1),
        (True, [["a", "b"]], 5),
    ]
    assert not any(block.runs for block in blocks(f"<!-- nothing here runs: a board -->\n{page}"))


def test_code_and_links_are_found():
    page = "Take `--seed` ([how](docs/a.md#b)), or [more](https://x.org).\n```bash\necho `no`\n```\n"
    assert (code_spans(page), links(page)) == (["--seed"], ["docs/a.md"])
