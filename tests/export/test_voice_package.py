"""A bundle as a package: what is in it, what is refused, and that an installed one speaks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import click.testing
import numpy as np
import pytest

from soundstorm_export import voice_package
from soundstorm_export.cli.export import export
from soundstorm_export.errors import ExportError
from soundstorm_export.voice_package import PackageOptions, write_voice_package
from soundstorm_runtime.bundle.prompts import Prompt, write_prompt
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.errors import BundleError

OPTIONS = ["--license", "CC-BY-4.0", "--attribution", 'Speech by "Anna" {Example}.']


def call(*arguments):
    return click.testing.CliRunner().invoke(export, [*map(str, arguments)])


@pytest.fixture(scope="module")
def package(tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("package") / "anna"
    found = call(tiny_bundle, "--wheel", "-o", folder, *OPTIONS)
    assert found.exit_code == 0, found.output
    assert found.stdout == f"wheel: {folder}/dist/soundstorm_voice_tiny-1.0.0-py3-none-any.whl\n"
    return folder


def test_an_installed_wheel_speaks(package, environment, tmp_path):
    (wheel,) = (package / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)  # as pip does
    code = "from soundstorm_runtime import Voice; print(len(Voice.load(voice_pack='tiny').speak('Yes.')))"
    path = f"{tmp_path}:{environment['PYTHONPATH']}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1000
    metadata = (tmp_path / "soundstorm_voice_tiny-1.0.0.dist-info" / "METADATA").read_text()
    assert "\nProject-URL: Paper, https://arxiv.org/abs/2305.09636\n" in metadata
    assert "\nLicense-Expression: CC-BY-4.0\nLicense-File: NOTICE\n" in metadata
    assert 'Speech by "Anna" {Example}.' in metadata
    assert read_bundle(tmp_path / "soundstorm_voice_tiny" / "bundle").manifest.name == "tiny"


def test_the_package_index_takes_it(package):
    pytest.importorskip("twine", reason="twine is absent: pip install '.[dev]'")
    command = [sys.executable, "-m", "twine", "check", "--strict", *(package / "dist").iterdir()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_sources_are_those_of_the_repository(package):
    names = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert {"pyproject.toml", "README.md", "NOTICE", "soundstorm_voice_tiny/__init__.py"} < names
    for shipped in Path(__file__).parents[2].glob("voices/*/pyproject.toml"):
        text = shipped.read_text()
        slug = shipped.parent.name
        assert f'\n{slug} = "soundstorm_voice_{slug.replace("-", "_")}"\n' in text
        for line in (package / "pyproject.toml").read_text().splitlines():
            assert "tiny" in line or line.startswith(("license =", "version =")) or line in text


def test_voices_and_engines_of_a_user_stay_out(tiny_bundle, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    write_prompt(bundle / "prompts" / "mine.npz", Prompt(np.zeros((2, 2), np.int64), np.zeros(2, np.int64)))
    (bundle / "engines").mkdir()
    (bundle / "engines" / "step").write_bytes(b"x")
    write_voice_package(read_bundle(bundle), tmp_path / "package", PackageOptions("MIT", "Nobody's speech."))
    copied = {path.name for path in (tmp_path / "package").rglob("*")}
    assert "step.onnx" in copied
    assert not copied & {"mine.npz", "engines", "step"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--wheel"], "--wheel needs --license and --attribution"),
        (["--wheel", "--license", "MIT"], "--wheel needs --license and --attribution"),
        (["--license", "MIT"], "--license, --attribution and --package-version need --wheel"),
        (["--wheel", "--tensorrt", *OPTIONS], "both --wheel and --tensorrt were given"),
    ],
)
def test_options_that_do_not_go_together(tiny_bundle, tmp_path, arguments, message, monkeypatch):
    monkeypatch.setattr("soundstorm_export.cli.export.open_library", lambda options: None)
    found = call(tiny_bundle, "-o", tmp_path / "package", *arguments)
    assert (found.exit_code, message in found.stderr) == (2, True), found.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"license": "do what you like"}, "license is 'do what you like', expected an SPDX expression"),
        ({"attribution": "  "}, "attribution is empty; say whose speech"),
        ({"version": "newest"}, "version is 'newest', expected one such as 1.0.0"),
    ],
)
def test_what_a_package_says_of_itself_is_checked(options, message):
    with pytest.raises(ExportError, match=re.escape(message)):
        PackageOptions(**{"license": "MIT", "attribution": "Nobody's speech.", **options})


def test_nothing_else_is_overwritten_and_nothing_half_written(tiny_bundle, tmp_path, monkeypatch):
    bundle, options = read_bundle(tiny_bundle), PackageOptions("MIT", "Nobody's speech.")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(ExportError, match="exists and is no voice package; give another folder"):
        write_voice_package(bundle, tmp_path / "other", options)
    monkeypatch.setattr(voice_package, "_PYPROJECT", "not TOML [")
    with pytest.raises(ExportError, match="the wheel cannot be built"):
        write_voice_package(bundle, tmp_path / "package", options)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_damaged_bundle_is_refused(tiny_bundle, tmp_path):
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    file = tmp_path / "bundle" / "decoder.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    bundle = read_bundle(tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"decoder\.onnx has SHA-256"):
        write_voice_package(bundle, tmp_path / "package", PackageOptions("MIT", "Nobody's speech."))
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
