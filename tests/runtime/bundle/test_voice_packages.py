"""Voice packages: found without being imported, and every way in which they can be missing or broken."""

from __future__ import annotations

import json
from importlib.metadata import distributions

import click.testing
import pytest

from soundstorm_runtime import Voice
from soundstorm_runtime.bundle import voice_packages
from soundstorm_runtime.bundle.voice_packages import VARIABLE, find_voice_package, installed_voice_packages
from soundstorm_runtime.cli import main_group
from soundstorm_runtime.errors import BundleError, OptionError
from tests.installed_voice import install_voice


@pytest.fixture
def install(make_bundle, tmp_path, monkeypatch):
    """Install a voice package, the only ones there being those of this test."""
    monkeypatch.delenv(VARIABLE, raising=False)
    site = tmp_path / "site"
    site.mkdir()

    def entries(group):
        return [e for d in distributions(path=[str(site)]) for e in d.entry_points if e.group == group]

    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(voice_packages, "entry_points", entries)
    bundle = make_bundle(voices={"anna": 6})

    def install(name, files=True, **options):
        return install_voice(site, name, bundle if files else None, **options)

    return install


@pytest.fixture
def call(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments, **options):
        return click.testing.CliRunner().invoke(main_group, [*map(str, arguments)], **options)

    return call


def test_the_installed_voice_is_the_default(install, call):
    path = install("anna")
    assert find_voice_package().path == path
    speech = Voice.load().speak("Yes.")
    assert (speech == Voice.load(path).speak("Yes.")).all()
    assert (speech == Voice.load(voice_pack="anna").speak("Yes.")).all()
    written = {call("say", *words).stdout_bytes for words in (["Yes."], [path, "Yes."])}
    written.add(call("say", "--voice-pack", "anna", input="Yes.").stdout_bytes)
    written.add(call("say", "-", input="Yes.").stdout_bytes)
    assert len(written) == 1
    assert written.pop()[:4] == b"RIFF"


def test_voices_lists_packages_and_where_they_are_from(install, call):
    assert "no voice package is installed" in call("voices").stderr
    path = install("anna")
    install("broken", files=False)
    found = call("voices", "--json")
    anna, broken = json.loads(found.stdout)
    assert anna == {
        "name": "anna",
        "default": False,
        "package": "soundstorm-voice-anna 1.0",
        "path": str(path),
        "voices": ["anna"],
        "sample_rate": 800,
    }
    assert "is not a bundle" in broken["problem"]
    lines = call("voices")
    assert lines.stdout == f"anna    anna; 800 Hz; soundstorm-voice-anna 1.0, {path}\n"
    assert lines.stderr.startswith("broken  cannot be used: ")
    assert call("voices", "--voice-pack", "anna").stdout == "anna  0.2 s, the default\n"


def test_one_of_several_is_named(install, call, monkeypatch):
    install("anna")
    second = install("otto")
    with pytest.raises(OptionError, match="several voice packages are installed: anna, otto; name one with"):
        find_voice_package()
    assert find_voice_package("otto").path == second
    assert Voice.load(voice_pack="otto").voices == ("anna",)
    monkeypatch.setenv(VARIABLE, "otto")
    assert find_voice_package().path == second
    assert call("voices").stdout.splitlines()[1].endswith(f"{second}, the default")
    with pytest.raises(OptionError, match="there is no voice package 'mia', installed: anna, otto; take one"):
        find_voice_package("mia")


def test_two_packages_of_one_name_are_refused(install):
    install("anna")
    install("anna", distribution="anna-too")
    message = (
        "soundstorm-voice-anna 1.0 and soundstorm-voice-anna-too 1.0 both install a voice package 'anna'"
    )
    with pytest.raises(OptionError, match=message):
        find_voice_package("anna")
    assert len(installed_voice_packages()) == 2


def test_a_folder_of_the_same_name_does_not_take_its_place(install, tmp_path, monkeypatch):
    path = install("anna")
    other = tmp_path / "other" / path.parent.name
    (other / "bundle").mkdir(parents=True)
    (other / "__init__.py").touch()
    monkeypatch.syspath_prepend(other.parent)
    assert find_voice_package().path == path


def test_an_editable_package_is_found(install, tmp_path, monkeypatch):
    path = install("anna")
    elsewhere = tmp_path / "sources" / path.parent.name
    elsewhere.parent.mkdir()
    path.parent.rename(elsewhere)
    monkeypatch.syspath_prepend(elsewhere.parent)
    assert find_voice_package().path == elsewhere / "bundle"


def test_none_installed(install):
    with pytest.raises(OptionError, match="no voice package is installed; install one, such as pip install"):
        find_voice_package()
    with pytest.raises(OptionError, match="no voice package is installed, but 'mia' was asked for"):
        Voice.load(voice_pack="mia")


@pytest.mark.parametrize("value", [None, "soundstorm_voice_absent", "two.parts:attribute"])
def test_a_package_without_files_is_refused(install, value):
    install("anna", value=value, files=False)
    with pytest.raises(BundleError, match=r"voice package 'anna' of soundstorm-voice-anna 1\.0 has no files"):
        find_voice_package()


def test_a_package_of_another_format_is_refused(install, call):
    file = install("anna") / "bundle.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 2}))
    with pytest.raises(BundleError, match="version is 2, this runtime reads 1; install the soundstorm-edge"):
        Voice.load()
    assert "cannot be used: " in call("voices").stderr


def test_both_a_path_and_a_package_are_refused(install, call):
    path = install("anna")
    with pytest.raises(OptionError, match="both a path and voice_pack were given"):
        Voice.load(path, voice_pack="anna")
    for command in (["info", path], ["doctor", path], ["say", path, "Yes."], ["voices", path]):
        found = call(*command, "--voice-pack", "anna")
        assert found.exit_code == 2
        assert "both BUNDLE and --voice-pack were given; give one of them" in found.stderr


def test_a_single_argument_is_a_text_unless_it_looks_like_a_bundle(install, call, tmp_path):
    path = install("anna")
    assert call("say", "build").stdout_bytes[:4] == b"RIFF"  # a word, though folders may be called so
    assert call("say", "Yes and/or no.").stdout_bytes[:4] == b"RIFF"
    assert call("say", "--voice-pack", "anna", "and/or").stdout_bytes[:4] == b"RIFF"
    assert call("say", path, input="Yes.").stdout_bytes == call("say", "Yes.").stdout_bytes
    assert "build/voise is not a bundle" in str(call("say", "build/voise").exception)  # and no text is read
    (tmp_path / "letter.txt").write_text("Yes.")
    assert call("say", path, "--file", "letter.txt").stdout_bytes == call("say", "Yes.").stdout_bytes
    found = call("say", "No.", "--file", "letter.txt")
    assert found.exit_code == 2
    assert "--file gives the text, and 'No.' is no folder of a bundle; leave one out" in found.stderr
    found = call("say", "Yes", "and", "no.")
    assert found.exit_code == 2
    assert "3 arguments were given, expected [BUNDLE] [TEXT]; put the text in quotes" in found.stderr


def test_commands_of_a_file_take_the_installed_voice(install, call, tmp_path):
    install("anna")
    (tmp_path / "lines.jsonl").write_text('{"id": "one", "text": "Yes."}\n')
    assert call("batch", "lines.jsonl", "-o", "spoken").exit_code == 0
    assert (tmp_path / "spoken" / "one.wav").is_file()
    assert call("info").stdout.startswith("voice     tiny")
    found = call("batch", "-o", "spoken")
    assert found.exit_code == 2
    assert "0 arguments were given, expected [BUNDLE] LINES" in found.stderr
