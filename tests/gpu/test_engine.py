"""TensorRT's engine on a strict stand-in: what it computes, copies, captures and refuses."""

from __future__ import annotations

import gc
import logging

import numpy as np
import pytest

from soundstorm_export.tensorrt.engine_builder import BuildOptions
from soundstorm_runtime import Voice
from soundstorm_runtime.bundle.open_engines import open_engines
from soundstorm_runtime.bundle.open_tensorrt import resident_tensors
from soundstorm_runtime.engines.device_array import DeviceArray
from soundstorm_runtime.engines.example_feeds import example_feeds
from soundstorm_runtime.engines.tensorrt.library import Messages
from soundstorm_runtime.errors import EngineError
from tests.gpu.fake_tensorrt import activations
from tests.gpu.recorded import TENSORRT

TEXT = "Good morning. The kettle is on the stove."


@pytest.fixture
def cold(monkeypatch):
    """Engines that are opened capture nothing before their first run."""
    monkeypatch.setattr("soundstorm_runtime.engines.tensorrt.tensorrt_engine._WARM", 0)


def lengths(frames=50, batch=1):
    return {"batch": batch, "frames": frames, "samples": 160, "phones": 12, "tokens": 50, "past": 7}


def step_feeds(bundle, **sizes):
    graph = bundle.manifest.expected_graphs()["step"]
    return example_feeds(graph, bundle.manifest.feed_limits, lengths(**sizes), np.random.default_rng(1))


def engines_of(bundle):
    own = open_engines(bundle, provider="tensorrt").by_name
    return own, open_engines(bundle, provider="cpu", precision="fp32", threads=1).by_name


@pytest.mark.parametrize("version", TENSORRT)
@pytest.mark.parametrize("kind", ["parallel", "autoregressive"])
def test_a_voice_speaks_as_on_the_cpu_with_every_version(with_engines, version, kind):
    cuda_version = "12.6.2" if version.startswith("10.3") else "13.5.0"
    bundle = with_engines(kind, version=version, cuda_version=cuda_version)
    spoken = Voice.load(bundle.path, provider="tensorrt").speak(TEXT)
    np.testing.assert_array_equal(spoken, Voice.load(bundle.path, provider="cpu", threads=1).speak(TEXT))


@pytest.mark.parametrize("name", ["step", "decoder", "text_encoder", "text_decoder"])
def test_every_graph_in_changing_shapes(with_engines, name):
    bundle = with_engines()
    own, other = (engines[name] for engines in engines_of(bundle))
    rng = np.random.default_rng(0)
    for frames, batch in ((1, 1), (64, 1), (65, 2), (300, 3), (1, 1), (65, 2)):
        feeds = example_feeds(own.graph, bundle.manifest.feed_limits, lengths(frames, batch), rng)
        expected, found = other.run(feeds), own.run(feeds)
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value)


def test_a_shape_is_enqueued_first_then_captured_then_replayed(with_engines, cold):
    bundle = with_engines()
    own, other = (engines["step"] for engines in engines_of(bundle))
    calls = own._cuda._api.calls
    for repeat, expected in enumerate([(0, 0), (1, 1), (0, 1), (0, 1)]):
        calls.clear()
        feeds = step_feeds(bundle) | {"temperature": np.array([0.5 + repeat], np.float32)}
        np.testing.assert_array_equal(own.run(feeds)["ids"], other.run(feeds)["ids"])
        assert (calls.count("cudaStreamBeginCapture"), calls.count("cudaGraphLaunch")) == expected
    assert calls == ["cudaGraphLaunch", "cudaStreamSynchronize"]  # all that the host asks for in a step


def test_lengths_of_one_bucket_share_a_graph_and_padding_is_not_seen(with_engines, cold):
    bundle = with_engines()
    own, other = (engines["step"] for engines in engines_of(bundle))
    own.run(step_feeds(bundle, frames=300))  # leaves its traces in the memory of the shorter ones
    for frames in (70, 128, 65, 100):
        feeds = step_feeds(bundle, frames=frames)
        found = own.run(feeds)
        assert found["ids"].shape == (1, frames)
        np.testing.assert_array_equal(found["ids"], other.run(feeds)["ids"])
    assert own._cuda._api.calls.count("cudaStreamBeginCapture") == 1
    assert [lane.inputs["uniform"] for lane in own._lanes.values()] == [(1, 304), (1, 128)]


def test_the_graphs_used_longest_ago_are_dropped_and_freed(with_engines, cold, monkeypatch):
    monkeypatch.setattr("soundstorm_runtime.engines.tensorrt.tensorrt_engine._MOST_LANES", 2)
    bundle = with_engines()
    own, _ = engines_of(bundle)
    card = own["step"]._cuda._api
    for frames in (10, 10, 100, 10, 200):
        own["step"].run(step_feeds(bundle, frames=frames))
    assert [lane.inputs["uniform"][1] for lane in own["step"]._lanes.values()] == [64, 256]
    assert len(card.graphs) == 1
    own["step"].run(step_feeds(bundle, frames=100))
    assert card.graphs == set()


def test_a_voice_that_is_loaded_has_captured_the_buckets_of_short_sentences(with_engines):
    bundle = with_engines()
    own, other = (engines["step"] for engines in engines_of(bundle))
    assert [lane.inputs["uniform"] for lane in own._lanes.values()] == [(1, 64), (1, 128), (1, 192), (1, 256)]
    calls = own._cuda._api.calls
    calls.clear()
    feeds = step_feeds(bundle, frames=150)
    np.testing.assert_array_equal(own.run(feeds)["ids"], other.run(feeds)["ids"])
    assert calls == ["cudaGraphLaunch", "cudaStreamSynchronize"]


@pytest.mark.parametrize("options", [None, BuildOptions()])
def test_each_length_runs_in_the_profile_that_takes_it(with_engines, options):
    bundle = with_engines() if options is None else with_engines(options=options)
    own, other = (engines["step"] for engines in engines_of(bundle))
    for frames, profile in ((10, 0), (300, 1), (900, 2), (300, 1)):
        if frames <= own.axes["frames"].max:
            feeds = step_feeds(bundle, frames=frames)
            for _ in range(3):
                np.testing.assert_array_equal(own.run(feeds)["ids"], other.run(feeds)["ids"])
            lane = next(reversed(own._lanes.values()))
            assert lane.profile == (profile if options else 0)


def test_memory_is_reserved_for_what_occurs_and_grows_for_more(with_engines, cold, monkeypatch):
    monkeypatch.setattr("soundstorm_runtime.bundle.open_tensorrt.MOST_FRAMES", 128)
    bundle = with_engines()
    own, other = (engines["step"] for engines in engines_of(bundle))
    assert own._reserved == activations({"codes": (3, 64)}) < activations({"codes": (3, 304)})
    first = step_feeds(bundle, frames=100)
    whole = step_feeds(bundle, frames=304, batch=3)
    for feeds in (first, whole, first, whole, first, whole):  # what was captured keeps its own memory
        np.testing.assert_array_equal(own.run(feeds)["ids"], other.run(feeds)["ids"])
    assert own._reserved == activations({"codes": (3, 304)})


def test_results_are_the_callers_own(with_engines):
    bundle = with_engines()
    step = engines_of(bundle)[0]["step"]
    first = step.run(step_feeds(bundle))["ids"]
    kept = first.copy()
    step.run(step_feeds(bundle, frames=51))
    np.testing.assert_array_equal(first, kept)


def test_where_capture_is_refused_it_says_so_once_and_enqueues(with_engines, cold, caplog):
    bundle = with_engines(refuses={"capture": True})
    own, other = (engines["step"] for engines in engines_of(bundle))
    with caplog.at_level(logging.WARNING):
        for frames in (50, 50, 51, 120, 120):
            feeds = step_feeds(bundle, frames=frames)
            np.testing.assert_array_equal(own.run(feeds)["ids"], other.run(feeds)["ids"])
    assert caplog.text.count("cannot be captured as a CUDA graph") == 1
    assert own._cuda._api.graphs == set()  # the unfinished one was freed
    assert own._cuda._api.last_error == 0  # another library's next call would report it
    assert own._cuda._api.calls.count("cudaStreamBeginCapture") == 1


def test_a_cache_of_keys_and_values_stays_on_the_gpu(with_engines):
    bundle = with_engines("autoregressive")
    own, other = engines_of(bundle)
    feeds = example_feeds(
        own["text_step"].graph, bundle.manifest.feed_limits, lengths(), np.random.default_rng(3)
    )
    first, expected = own["text_step"].run(feeds), other["text_step"].run(feeds)
    assert isinstance(first["next_keys"], DeviceArray)
    assert isinstance(first["logits"], np.ndarray)
    np.testing.assert_array_equal(first["next_keys"], expected["next_keys"])
    calls = own["text_step"]._cuda._api.calls
    calls.clear()
    again = {**feeds, "keys": first["next_keys"], "values": first["next_values"]}
    other_again = {**feeds, "keys": expected["next_keys"], "values": expected["next_values"]}
    second = own["text_step"].run(again)
    assert calls.count("cudaMemcpyAsync") == 3 + 2  # token, lengths, logits; what the encoder did not give
    np.testing.assert_array_equal(
        np.asarray(second["next_values"]), other["text_step"].run(other_again)["next_values"]
    )
    np.testing.assert_array_equal(first["next_keys"], expected["next_keys"])  # nobody wrote over it


def test_what_stays_on_the_gpu_is_what_goes_from_run_to_run(with_engines):
    graphs = with_engines("autoregressive").manifest.expected_graphs().values()
    names = {"cross_keys", "cross_values", "keys", "values", "next_keys", "next_values"}
    assert resident_tensors(graphs) == names


def test_memory_is_taken_once(with_engines):
    bundle = with_engines("autoregressive")
    voice = Voice.load(bundle.path, provider="tensorrt")
    voice.speak(TEXT)
    calls = voice._acoustics._step._cuda._api.calls
    calls.clear()
    voice.speak(TEXT)
    assert "cudaMalloc" not in calls
    assert "cudaHostAlloc" not in calls


def test_memory_is_given_back_with_the_last_engine(with_engines):
    bundle = with_engines("autoregressive")
    voice = Voice.load(bundle.path, provider="tensorrt")
    voice.speak(TEXT)
    card = voice._acoustics._step._cuda._api
    held = len(card.taken)
    assert held
    del voice
    gc.collect()
    assert len(card.taken) < held  # a failed test before this one may hold some still


def test_a_length_outside_the_profile_is_refused(with_engines):
    bundle = with_engines()
    step = engines_of(bundle)[0]["step"]
    with pytest.raises(EngineError, match="graph 'step' was given 305 frames, expected 1 to 304; split it"):
        step.run(step_feeds(bundle, frames=305))
    with pytest.raises(EngineError, match="graph 'step' was given 4 batch, expected 1 to 3"):
        step.run(step_feeds(bundle, batch=4))


def test_a_long_text_is_split_to_fit_the_profile(with_engines):
    bundle = with_engines()
    voice = Voice.load(bundle.path, provider="tensorrt")
    text = "One two three four five six seven, " * 20 + "eight."
    assert len(voice.speak(text)) > 300 * bundle.manifest.audio.hop
    assert len(voice.speak_many([TEXT] * 5)) == 5


def test_full_memory_gives_advice(with_engines, plug_in):
    bundle = with_engines("autoregressive")
    card = plug_in().cuda
    card.taken[0] = range(card.memory - (1 << 16))  # of other programs
    with pytest.raises(
        EngineError,
        match=r"the GPU's memory is full: 0 of 16384 MiB are free, .* MiB were asked for; end other "
        r"programs, or build engines for shorter speech and smaller batches: soundstorm-export BUNDLE "
        r"--tensorrt --frames",
    ):
        open_engines(bundle, provider="tensorrt")


def test_messages_arrive_although_tensorrt_has_one_logger_for_a_process(with_engines, plug_in):
    bundle = with_engines()
    plug_in(refuses={"deserialize": "Version tag does not match"})
    for _ in range(2):
        with pytest.raises(EngineError, match="Version tag does not match"):
            open_engines(bundle, provider="tensorrt")


def test_ctrl_c_while_tensorrt_logs_is_not_lost(with_engines, plug_in, monkeypatch):
    bundle = with_engines()
    plug_in(refuses={"deserialize": "Version tag does not match"})

    def interrupted(self, message):
        raise KeyboardInterrupt

    monkeypatch.setattr(Messages, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_engines(bundle, provider="tensorrt")


def test_a_plan_that_tensorrt_refuses_is_told_with_its_reason(with_engines, plug_in):
    bundle = with_engines()
    plug_in(refuses={"deserialize": "Version tag does not match"})
    with pytest.raises(
        EngineError,
        match=r"step\.engine cannot be read by tensorrt 11\.4\.0\.106 on NVIDIA Fake 1 "
        r"\(Version tag does not match\); build it again with soundstorm-export BUNDLE --tensorrt",
    ):
        open_engines(bundle, provider="tensorrt")
