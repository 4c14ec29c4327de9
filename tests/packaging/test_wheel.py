"""The wheel as a device gets it: what is inside, and that it speaks where there is no PyTorch."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SENTENCE = "Hello there."

OF_EXTRAS = ("server", "wyoming_server.py", "cluster.py", "ray_batch.py")  # what imports their packages

EVERY_MODULE = """
import importlib, pathlib, sys
import soundstorm_runtime
assert "torch" not in sys.modules
folder = pathlib.Path(soundstorm_runtime.__file__).parent
extras = set(sys.argv[1:])
files = [file for file in folder.rglob("*.py") if file.stem != "__main__" and not extras & set(file.parts)]
names = sorted(".".join(file.relative_to(folder).with_suffix("").parts) for file in files)
for name in names:
    importlib.import_module(f"soundstorm_runtime.{name}")
    print(name)
for absent in ("torch", "onnx", "sklearn", "soundstorm_edge.checkpoint"):
    try:
        importlib.import_module(absent)
    except ImportError:
        continue
    sys.exit(f"{absent} can be imported here")
"""


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **options
    )  # type: ignore[call-overload]


def install(python: Path, requirement: str) -> None:
    done = run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory):
    """Python of a new virtual environment with the wheel, and no engine to run a voice with."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install(python, str(wheel))
    return python


@pytest.fixture(scope="module")
def without_engine(bare, tiny_bundle, tmp_path_factory):
    """What `soundstorm say` did there."""
    folder = tmp_path_factory.mktemp("without_engine")
    return run(bare.with_name("soundstorm"), "say", tiny_bundle, SENTENCE, cwd=folder)


@pytest.fixture(scope="module")
def lean(bare, without_engine, wheel):
    """The same Python once the wheel's extra `cpu` is there as well."""
    install(bare, f"{wheel}[cpu]")
    return bare


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}
    (info,) = (name for name in names if name.endswith(".dist-info"))
    assert names - {info} == {"soundstorm_edge", "soundstorm_export", "soundstorm_runtime"}


def test_the_wheel_holds_what_is_not_python(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    others = {name for name in names if not name.endswith(".py") and ".dist-info/" not in name}
    recipes = {
        f"soundstorm_edge/training/recipes/{file.name}"
        for file in ROOT.glob("soundstorm_edge/training/recipes/*.toml")
    }
    assert "soundstorm_edge/training/recipes/flite-rms.toml" in recipes
    assert others == recipes | {
        "soundstorm_edge/data/lexicon-cmu-LICENSE.txt",
        "soundstorm_edge/data/lexicon-cmu.txt.gz",
        "soundstorm_edge/data/lexicon.txt.gz",
        "soundstorm_edge/py.typed",
        "soundstorm_export/py.typed",
        "soundstorm_export/verify/onnxruntime-cuda-kernels-1.22.txt",
        "soundstorm_export/verify/onnxruntime-cuda-kernels-2025.txt",
        "soundstorm_export/verify/onnxruntime-cuda-kernels-2026.txt",
        "soundstorm_export/verify/tensorrt-implementations.txt",
        "soundstorm_export/verify/tensorrt-operators-10.15.txt",
        "soundstorm_export/verify/tensorrt-operators-10.6.txt",
        "soundstorm_export/verify/tensorrt-operators-11.2.txt",
        "soundstorm_export/verify/tensorrt-operators.txt",
        "soundstorm_runtime/py.typed",
        *(
            f"soundstorm_runtime/server/static/{name}"
            for name in (
                "dialogue.js",
                "docs.html",
                "docs.js",
                "icon.svg",
                "index.html",
                "page.js",
                "player.js",
                "server.js",
                "style.css",
                "voices.js",
            )
        ),
    }


def test_the_package_index_takes_it_and_its_links_lead_somewhere(wheel):
    pytest.importorskip("twine", reason="twine is absent: pip install '.[dev]'")
    done = run(sys.executable, "-m", "twine", "check", "--strict", wheel)
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(name).decode()
    assert "\nProject-URL: Paper, https://arxiv.org/abs/2305.09636\n" in text
    assert "\n# SoundStorm Edge\n" in text
    found = re.findall(r"\]\(([^)]+)\)", text)
    assert found
    assert [link for link in found if not link.startswith("http")] == []


def test_without_an_engine_the_error_names_the_extra(without_engine):
    assert without_engine.returncode == 1
    (line,) = without_engine.stderr.splitlines()
    assert line.startswith("error: no engine to run the voice with")
    assert "pip install 'soundstorm-edge[cpu]'" in line


def test_an_extra_is_added_to_what_is_installed(lean, tmp_path):
    """As error messages advise: pip takes the installed distribution, so that it needs no release."""
    install(lean, "soundstorm-edge[ssml]")
    done = run(lean, "-c", "import defusedxml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "arguments", "extra"),
    [("soundstorm-train", ["--help"], "train"), ("soundstorm-export", ["voice.pt"], "export")],
)
def test_without_pytorch_the_error_names_the_extra(bare, command, arguments, extra, tmp_path):
    done = run(bare.with_name(command), *arguments, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: a package is missing or broken (")
    assert line.endswith(f"pip install 'soundstorm-edge[{extra}]'")


def test_the_export_shows_its_help_without_pytorch(bare):
    assert "Usage:" in run(bare.with_name("soundstorm-export"), "--help").stdout


def test_every_module_of_the_runtime_imports_without_pytorch(lean, tmp_path):
    done = run(lean, "-c", EVERY_MODULE, *OF_EXTRAS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = ROOT / "runtime/soundstorm_runtime"
    files = [f for f in folder.rglob("*.py") if f.stem != "__main__" and not set(OF_EXTRAS) & set(f.parts)]
    names = sorted(".".join(file.relative_to(folder).with_suffix("").parts) for file in files)
    assert len(names) > 50
    assert done.stdout.split() == names


def test_the_runtime_speaks_without_pytorch(lean, tiny_bundle, tmp_path):
    done = run(lean.with_name("soundstorm"), "say", tiny_bundle, SENTENCE, "-o", "hello.wav", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "hello.wav").stat().st_size > 1000
    code = (
        f"from soundstorm_runtime import Voice; print(len(Voice.load({str(tiny_bundle)!r}).speak('Hello.')))"
    )
    done = run(lean, "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
