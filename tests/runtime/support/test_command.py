"""What all command lines share: their help, and how much they print."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from soundstorm_edge.cli.commands import main_group as train
from soundstorm_export.cli.export import export
from soundstorm_runtime.cli import main_group
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.support.command import Command, needs_extra, report


def _commands():
    lines = {"soundstorm": main_group, "soundstorm-train": train, "soundstorm-export": export}
    for name, command in lines.items():
        if not isinstance(command, click.Group):
            yield name, command
            continue
        context = click.Context(command)
        for each in command.list_commands(context):
            yield f"{name} {each}", command.get_command(context, each)


COMMANDS = dict(_commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_that_parses(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = COMMANDS[name]
    shown = CliRunner().invoke(command, ["--help"]).output
    assert "Example:\n" in shown
    assert "-v, --verbose" in shown
    assert "-q, --quiet" in shown
    for line in command.example.strip().splitlines():
        assert f"{line.strip()} ".startswith(f"{name} ")
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line.strip().partition(" | ")[0])]
        for opened in {"letter.txt", "lines.jsonl"} & {*words}:
            (tmp_path / opened).touch()
        command.make_context("x", words[len(name.split()) :])


@pytest.mark.parametrize("group", [main_group, train])
def test_the_summaries_fit_on_a_line(group):
    shown = CliRunner().invoke(group, ["--help"], terminal_width=80).output
    assert "..." not in shown.partition("Commands:")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_and_shows_its_default(name):
    for option in COMMANDS[name].params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert option.help[0].isupper(), option.help
            assert option.help.rstrip().endswith("."), option.help
            if isinstance(option.default, str | int | float) and not option.is_flag:
                context = click.Context(COMMANDS[name], **COMMANDS[name].context_settings)
                assert "default" in option.get_help_record(context)[1], option.name


def test_an_option_has_one_meaning_everywhere():
    """Options that the commands of one package share are the same; of other packages, of one type."""
    kinds: dict[str, dict[str, str]] = {}
    for name, command in COMMANDS.items():
        for option in command.params:
            for flag in (*option.opts, *option.secondary_opts) if isinstance(option, click.Option) else ():
                if flag not in ("--precision", "--output", "-o", "--batch", "--checkpoint"):
                    kinds.setdefault(flag, {})[name] = f"{option.type.name} {option.is_flag}"
    assert {flag: found for flag, found in kinds.items() if len(set(found.values())) > 1} == {}


@pytest.fixture
def chatty():
    @click.command(cls=Command, example="chatty")
    def chatty():
        report("a line of progress")
        logging.getLogger("soundstorm_runtime.x").debug("a detail")
        logging.getLogger("soundstorm_runtime.x").warning("a warning")
        click.echo("the result")

    yield chatty
    logging.getLogger("soundstorm_runtime").setLevel(logging.INFO)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {"a line of progress", "a warning", "the result"}),
        (["-q"], {"a warning", "the result"}),
        (["--verbose"], {"a line of progress", "a detail", "a warning", "the result"}),
    ],
)
def test_verbosity(chatty, options, expected, caplog):
    found = CliRunner().invoke(chatty, options)
    assert {*found.output.splitlines(), *caplog.messages} == expected


def test_verbose_and_quiet_exclude_each_other(chatty):
    found = CliRunner().invoke(chatty, ["-v", "-q"])
    assert found.exit_code == 2
    assert "both --verbose and --quiet were given" in found.output


def test_verbose_shows_where_an_error_was_raised(run_command, tmp_path):
    done = run_command("soundstorm", "info", tmp_path)
    assert "Traceback" not in done.stderr
    done = run_command("soundstorm", "info", tmp_path, "-v")
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_a_missing_package_names_the_extra():
    message = r"missing or broken \(No module.*\); pip install 'soundstorm-edge\[x\]'"
    with pytest.raises(OptionError, match=message), needs_extra("x"):
        import soundstorm_none  # noqa: F401


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [("soundstorm_edge.cli", ["--help"], "train"), ("soundstorm_export.cli", ["voice.pt"], "export")],
)
def test_a_machine_without_pytorch_is_told_the_extra(module, arguments, extra, environment, tmp_path):
    code = (
        f"import sys; sys.modules['torch'] = None; sys.argv[1:] = {arguments}; "
        f"from {module} import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(rf"error: .*pip install 'soundstorm-edge\[{extra}\]'", line)


@pytest.mark.parametrize(
    ("typed", "expected"), [("soundstorm sa", "say"), ("soundstorm say --see", "--seed")]
)
def test_the_shell_completes(environment, typed, expected, tmp_path):
    script = "import sys; sys.argv[0] = 'soundstorm'; from soundstorm_runtime.cli import main; main()"
    variables = {
        "_SOUNDSTORM_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | environment | variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"plain,{expected}" in done.stdout.splitlines(), done.stderr


def test_control_characters_are_shown_and_not_obeyed(tmp_path):
    """In errors, in logs and in what is reported: a name may be from a stranger."""
    script = (
        "import logging, sys, click\n"
        "from soundstorm_runtime.errors import OptionError\n"
        "from soundstorm_runtime.support.command import report, run\n"
        "@click.command()\n"
        "def main():\n"
        "    logging.getLogger('soundstorm_runtime').warning('log \\x1b[2J')\n"
        "    report('said \\x07 \\udcff')\n"
        "    raise OptionError('no \\x1b]0;title\\x07 here')\n"
        "run(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines() == [
        "log \\x1b[2J", "said \\x07 \\udcff", "error: no \\x1b]0;title\\x07 here",
    ]  # fmt: skip
