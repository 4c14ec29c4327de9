"""Reading a bundle: everything that can be wrong with one is named."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path

import onnx
import pytest

from soundstorm_runtime.bundle.manifest import FileRecord
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.engines.graphs import step_graph
from soundstorm_runtime.errors import BundleError


def edit(folder: Path, *keys: str | int, value: object) -> None:
    """Set what `keys` lead to in `bundle.json`; a value of None removes it."""
    file = folder / "bundle.json"
    data = json.loads(file.read_text())
    data.pop("digest", None)
    place = data
    for key in keys[:-1]:
        place = place[key]
    if value is None:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    file.write_text(json.dumps(data))


def refuses(folder: Path, *parts: str) -> None:
    """Reading fails with one line that has all `parts` in this order."""
    with pytest.raises(BundleError, match=".*".join(map(re.escape, parts))) as caught:
        read_bundle(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["parallel", "autoregressive"])
def test_a_good_bundle_is_read(make_bundle, kind):
    folder = make_bundle(kind)
    bundle = read_bundle(str(folder))
    assert bundle.manifest.text.kind == kind
    assert bundle.manifest.decode.steps == (4, 2, 1)
    assert bundle.manifest.frames_per_token == 2
    assert bundle.manifest.expected_graphs()["step"] == step_graph(3)
    assert bundle.graph_file("step") == folder / "step.onnx"
    assert bundle.spelling() is not None
    assert bundle.manifest.precisions == ("fp32",)
    assert bundle.prompts() == {}
    assert bundle.manifest.to_json() == (folder / "bundle.json").read_text()


def test_a_bundle_of_before_there_were_voices_and_variants_is_read(make_bundle):
    folder = make_bundle()
    for key in ("variants", "prompts", "speaker"):
        edit(folder, key, value=None)
    edit(folder, "audio", "groups", value=None)
    assert read_bundle(folder).manifest.precisions == ("fp32",)


def test_a_variant_takes_what_it_lacks_from_fp32(make_bundle):
    folder = make_bundle(variants=["int8", "fp16"])
    bundle = read_bundle(folder)
    assert bundle.manifest.precisions == ("fp32", "int8", "fp16")
    assert bundle.graph_file("step", "int8") == folder / "int8" / "step.onnx"
    assert bundle.graph_file("decoder", "int8") == folder / "decoder.onnx"
    assert bundle.graph_file("step") == folder / "step.onnx"


PARITY = {"cases": [], "largest_error": 0.0, "mean_error": 0.0, "tolerance": 0.0, "agreement": 1.0}


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["variants", "int4"], {"graphs": {}, "parity": {}}, "variants has 'int4', expected int8 or fp16"),
        (["variants", "int8", "graphs"], {}, "variant int8 has the graphs nothing, expected some of step"),
        (
            ["variants", "int8", "graphs", "encoder"],
            "encoder.onnx",
            "variant int8 has the graphs step, encoder, expected some of step, decoder",
        ),
        (["variants", "int8", "parity", "step"], None, "parity of variant int8 has nothing, expected step"),
        (["variants", "int8", "parity", "decoder"], PARITY, "int8 has step, decoder, expected step"),
        (["variants", "int8", "graphs", "step"], "other.onnx", "expected also other.onnx"),
        (["variants", "int8", "speech"], {"sentences": 1}, "speech lacks the key 'spectral_distance'"),
        (["prompts", "awb"], "prompts/awb.npz", "expected also prompts/awb.npz"),
        (["speaker"], "awb", "speaker is 'awb', expected one of prompts: slt"),
        (["audio", "groups"], 2, "levels is 3, expected a multiple of groups 2"),
    ],
)
def test_edited_voices_and_variants_are_refused(make_bundle, keys, value, message):
    folder = make_bundle(voices={"slt": 6}, variants=["int8"])
    read_bundle(folder)
    edit(folder, *keys, value=value)
    refuses(folder, "bundle.json: ", message)


def test_what_is_not_a_bundle_is_refused(tmp_path):
    refuses(tmp_path / "none", "none is not a bundle", "found nothing", "that soundstorm-export wrote")
    refuses(tmp_path, "expected a folder with bundle.json, found none in it")
    (tmp_path / "voice.pt").touch()
    refuses(tmp_path / "voice.pt", "voice.pt is not a bundle", "found a file")


@pytest.mark.parametrize(
    "text", [b"", b'{"format": "soundstorm-bundle", "ver', b"\xff\xfe\x00", b"[" * 100_000], ids=range(4)
)
def test_a_manifest_that_is_no_json_is_refused(make_bundle, text):
    folder = make_bundle()
    (folder / "bundle.json").write_bytes(text)
    refuses(folder, "bundle.json", "cannot be read as JSON", "truncated or edited", "export it again")


def test_another_format_or_version_is_refused(make_bundle):
    folder = make_bundle()
    edit(folder, "version", value=2)
    refuses(
        folder, "bundle.json: version is 2, this runtime reads 1; install the soundstorm-edge that made it"
    )
    edit(folder, "format", value="other")
    refuses(folder, "bundle.json: format is 'other', expected 'soundstorm-bundle'")
    (folder / "bundle.json").write_text("[]")
    refuses(folder, "format is None")


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (
            ["colour"],
            "red",
            "has the unknown key 'colour'; valid keys: format, version, producer, name, audio",
        ),
        (["audio", "bits"], 16, "bundle.audio has the unknown key 'bits'; valid keys: codec, sample_rate"),
        (["audio", "hop"], None, "bundle.audio lacks the key 'hop'; expected keys: codec, sample_rate, hop"),
        (["audio", "hop"], 16.5, "bundle.audio.hop is 16.5, expected a whole number"),
        (["audio", "hop"], True, "bundle.audio.hop is True, expected a whole number"),
        (["audio", "hop"], 0, "bundle.audio: hop is 0, expected 1 or more"),
        (["audio", "codec"], "mp3", "bundle.audio.codec is 'mp3', expected 'spectral' or 'soundstream'"),
        (["audio", "window"], 64, "bundle.audio: window is 64, expected 0 for codec 'soundstream'"),
        (["audio", "codec"], "spectral", "window is 0, expected a multiple of hop 16, twice it or more"),
        (["audio"], [], "bundle.audio is [], expected an object with keys"),
        (["version"], True, "bundle.version is True, expected 1"),
        (["semantic", "rate"], 30, "expected a whole number of frames per token"),
        (["decode", "steps"], [4, 1], "steps has 2 numbers [4, 1], but the voice has 3 levels"),
        (["decode", "steps"], [4, 0, 1], "bundle.decode: steps is [4, 0, 1], expected one number of 1"),
        (["decode", "steps"], 4, "bundle.decode.steps is 4, expected a list"),
        (
            ["decode", "schedule"],
            "square",
            "bundle.decode.schedule is 'square', expected 'cosine' or 'linear'",
        ),
        (["decode", "temperature"], "hot", "bundle.decode.temperature is 'hot', expected a number"),
        (["decode", "temperature"], 0, "temperature is 0.0, expected 0.01 to 100"),
        (["text", "kind"], "oracle", "text.kind is 'oracle', expected 'parallel' or 'autoregressive'"),
        (["text", "layers"], 2, "bundle.text has the unknown key 'layers'; valid keys: kind, symbols, dim"),
        (["text", "symbols"], ["pau", "pau"], "symbols has 2 phones, expected one or more, each once"),
        (["text", "dim"], 5, "graph text_encoder has the outputs hidden float32 ['batch', 'phones', 4]"),
        (["axes", "batch"], None, "axes has frames, samples"),
        (["axes", "width"], {"min": 1, "opt": 1, "max": 1}, "expected batch, frames"),
        (["axes", "frames"], {"min": 1, "opt": 9, "max": 8}, "axis frames is 1, 9, 8, expected 0 <= min"),
        (["graphs", "step"], None, "graphs has decoder, text_encoder, text_decoder, expected step, decoder"),
        (["graphs", "step", "inputs", 0, "dtype"], "int32", "graph step has the inputs codes int32"),
        (["graphs", "step", "inputs", 0, "axes"], ["batch", 3], "codes int64 ['batch', 3]"),
        (["graphs", "step", "file"], "other.onnx", "expected also other.onnx"),
        (["parity", "step"], None, "parity has decoder"),
        (["parity", "step", "largest_error"], "small", "largest_error is 'small', expected a number"),
        (["files", "lexicon.txt.gz"], None, "expected also lexicon.txt.gz"),
        (
            ["files", "../step.onnx"],
            {"sha256": "", "size": 1},
            "has the path '../step.onnx', expected one inside",
        ),
        (
            ["files", "/etc/passwd"],
            {"sha256": "", "size": 1},
            "has the path '/etc/passwd', expected one inside",
        ),
        (["files", "a\\b"], {"sha256": "", "size": 1}, "expected one inside the bundle"),
        (["files", "C:b"], {"sha256": "", "size": 1}, "expected one inside the bundle"),
    ],
)
def test_an_edited_manifest_is_refused(make_bundle, keys, value, message):
    folder = make_bundle()
    edit(folder, *keys, value=value)
    refuses(folder, "bundle.json: ", message, "export it again with soundstorm-export")


def test_files_must_be_what_the_manifest_says(make_bundle):
    folder = make_bundle()
    file = folder / "step.onnx"
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    refuses(folder, f"step.onnx has {len(whole) - 10} bytes, expected {len(whole)}; export it again")
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"step\.onnx has SHA-256 \w+, expected \w+; export it again"):
        read_bundle(folder).graph_file("step")
    file.unlink()
    refuses(folder, f"step.onnx is missing, expected {len(whole)} bytes; export it again")


def test_files_that_the_manifest_does_not_list_are_refused(make_bundle):
    folder = make_bundle(voices={"slt": 6})
    for allowed in ("prompts/mine.npz", "engines/gpu/step.engine", ".cache/x", ".step.onnx.soundstorm-part"):
        (folder / allowed).parent.mkdir(parents=True, exist_ok=True)
        (folder / allowed).write_bytes(b"")
    bundle = read_bundle(folder)
    bundle.check()
    for stray in ("extra.weights", "int8/step.onnx", "prompts/mine.onnx"):
        (folder / stray).parent.mkdir(exist_ok=True)
        (folder / stray).write_bytes(b"")
        with pytest.raises(BundleError, match=rf"{stray} is not listed in bundle\.json; move it out"):
            bundle.check()
        with pytest.raises(BundleError, match=rf"{stray} is not listed in bundle\.json"):
            bundle.file(stray)
        (folder / stray).unlink()
    for make in (os.mkfifo, lambda path: path.symlink_to("int8")):
        make(folder / "stray")
        with pytest.raises(BundleError, match=r"stray is not listed in bundle\.json; move it out"):
            bundle.check()
        (folder / "stray").unlink()


def test_what_is_not_used_is_not_waited_for(make_bundle):
    """A broken variant stops those who open it, and whoever asks for a check of everything."""
    folder = make_bundle(variants=["int8"])
    file = folder / "int8" / "step.onnx"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    bundle = read_bundle(folder)
    assert bundle.graph_file("step", "fp32") == folder / "step.onnx"
    for use in (lambda: bundle.graph_file("step", "int8"), bundle.check):
        with pytest.raises(BundleError, match=r"int8.step\.onnx has SHA-256"):
            use()


def test_a_link_out_of_the_bundle_is_refused(make_bundle, tmp_path):
    folder = make_bundle()
    outside = tmp_path / "outside.onnx"
    (folder / "step.onnx").rename(outside)
    (folder / "step.onnx").symlink_to(outside)
    refuses(folder, "step.onnx is a link to", "expected a file inside the bundle")


def test_file_facts_are_the_known_digest(tmp_path):
    file = tmp_path / "abc"
    file.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert FileRecord.of(file) == FileRecord(digest, 3)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("decoder.onnx")])
@pytest.mark.parametrize("name", ["step.onnx", "bundle.json", "lexicon.txt.gz"])
def test_what_is_no_file_is_refused(make_bundle, make, name):
    folder = make_bundle()
    (folder / name).unlink()
    make(folder / name)
    refuses(folder, name, "expected a file")


def test_sizes_are_limited_before_anything_is_read(make_bundle):
    folder = make_bundle()
    with (folder / "bundle.json").open("r+b") as file:
        file.truncate(1 << 40)
    refuses(folder, "bundle.json", "it has 1099511627776 bytes, expected at most")
    folder = make_bundle("autoregressive")
    edit(folder, "files", "step.onnx", "size", value=1 << 50)
    refuses(folder, "step.onnx: size is 1125899906842624, expected 0 to")


def relist(folder: Path, name: str, content: bytes) -> None:
    """Exchange a file and state its hash in the manifest, as a stranger can."""
    (folder / name).write_bytes(content)
    record = FileRecord.of(folder / name)
    edit(folder, "files", name, value={"sha256": record.sha256, "size": record.size})


def test_a_lexicon_that_unpacks_to_gigabytes_is_refused(make_bundle):
    folder = make_bundle()
    relist(folder, "lexicon.txt.gz", gzip.compress(bytes(64 << 20)))
    with pytest.raises(BundleError, match=r"cannot read lexicon .* \(it unpacks to more than \d+ bytes\)"):
        read_bundle(folder).spelling()


def test_a_graph_that_no_voice_has_is_refused_before_it_is_opened(make_bundle):
    folder = make_bundle()
    model = onnx.load(folder / "step.onnx")
    model.graph.node[0].domain = "shell"
    relist(folder, "step.onnx", model.SerializeToString())
    with pytest.raises(
        BundleError, match=r"step\.onnx is not a graph of a voice: .*'shell::Gather'.*; export"
    ):
        read_bundle(folder).graph_file("step")


def test_external_data_that_the_manifest_does_not_list_are_refused(make_bundle):
    folder = make_bundle()
    onnx.save(
        onnx.load(folder / "step.onnx"),
        folder / "step.onnx",
        save_as_external_data=True,
        size_threshold=0,
        location="more.weights",
    )
    relist(folder, "step.onnx", (folder / "step.onnx").read_bytes())
    with pytest.raises(BundleError, match=r"has its data in 'more\.weights', expected no other file"):
        read_bundle(folder).graph_file("step")
    relist(folder, "more.weights", (folder / "more.weights").read_bytes())
    edit(folder, "graphs", "step", "weights", value="more.weights")
    assert read_bundle(folder).graph_file("step") == folder / "step.onnx"


def test_a_manifest_edited_by_accident_is_noticed(make_bundle):
    """Whatever is edited so that it still makes sense."""
    folder = make_bundle()
    file = folder / "bundle.json"
    text = file.read_text()
    for old, new in (
        ('"temperature": 1.0', '"temperature": 1.5'),
        ('"aa",', '"zz",'),
        ("by hand", "by foot"),
    ):
        assert old in text
        file.write_text(text.replace(old, new))
        refuses(folder, "bundle.json has the digest", "it was edited; export it again")
    file.write_text(json.dumps(json.loads(text)))  # another layout
    read_bundle(folder)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["name"], "a\x1b]0;title\x07", r"name has 'a\x1b]0;title\x07', expected no control characters"),
        (["notice"], "a\u202eb", "notice has"),
        (["producer"], "a\nb", "producer has"),
        (["prompts", "a\x1b[2J"], "lexicon.txt.gz", "prompts has"),
        (["files", "a\x07"], {"sha256": "", "size": 1}, "files has"),
        (["text", "symbols"], ["pau\x00"], "symbols has"),
    ],
)
def test_control_characters_in_names_are_refused(make_bundle, keys, value, message):
    folder = make_bundle()
    edit(folder, *keys, value=value)
    refuses(folder, message)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["audio", "window"], 10**12, "window is 1000000000000, expected at most"),
        (["audio", "levels"], 10**12, "levels is 1000000000000, expected at most"),
        (["semantic", "vocabulary"], 10**18, "vocabulary is 1000000000000000000, expected at most"),
        (["decode", "steps"], [10**9, 1, 1], "expected at most 1000 for a level"),
        (["axes", "frames"], {"min": 1, "opt": 9, "max": 10**9}, "axis frames goes to 1000000000, expected"),
    ],
)
def test_absurd_sizes_are_refused(make_bundle, keys, value, message):
    folder = make_bundle()
    edit(folder, *keys, value=value)
    refuses(folder, message)
