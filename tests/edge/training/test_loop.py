"""The training loop: exact resumption, the rate, batches, saved state."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from soundstorm_edge.codec.quantizer import Quantizer
from soundstorm_edge.errors import CheckpointError, ConfigError
from soundstorm_edge.support.tensor_files import load_tensors, save_tensors
from soundstorm_edge.training.loop import STATE, Loop, Optimization, Stage, moving_average, train
from soundstorm_edge.training.state import trained_weights


@dataclass(frozen=True)
class Line:
    inputs: int = 3
    hidden: int = 8


class Regression(Stage):
    """A line to fit, with dropout, so that random states matter."""

    name = "regression"

    def __init__(self, config: Line | None = None, dropout: float = 0.5) -> None:
        self.config = config or Line()
        self.lengths = np.ones(64)
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(dropout), nn.Linear(8, 1))

    def sample(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        return (rng.standard_normal(3).astype(np.float32),)

    def collate(self, samples: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
        x = torch.from_numpy(np.stack([point for (point,) in samples]))
        return x, x.sum(dim=1, keepdim=True)

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (model(batch[0]) - batch[1]).pow(2).mean()
        return loss, {"square": loss.detach()}

    def evaluate(self, device: torch.device) -> dict[str, float]:
        held_out = self.collate([self.sample(i, np.random.default_rng(i)) for i in range(64)])
        return {"square": self.loss(self.model, held_out)[0].item()}

    def audio_examples(self, device: torch.device) -> dict[str, tuple[np.ndarray, int]]:
        return {"noise": (self.model(torch.ones(800, 3))[:, 0].numpy(), 8000)}


def options(steps: int, **settings: Any) -> Optimization:
    given: dict[str, Any] = {"batch": 8, "learning_rate": 1e-2, "warmup": 2, "save_every": 5} | settings
    return Optimization(steps=steps, **given)


def assert_equal_weights(first: nn.Module, second: nn.Module, tolerance: float = 0.0) -> None:
    for name, weight in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], weight, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("settings", [{}, {"accumulate": 2, "ema": 0.9}])
def test_a_resumed_run_is_the_run_that_was_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, settings: dict[str, Any]
) -> None:
    whole = Regression()
    train(whole, options(12, **settings), tmp_path / "whole")

    stopped, take_step = Regression(), Loop.take_step

    def interrupt(loop: Loop) -> list[dict[str, Tensor]]:
        if loop.step == 7:
            os.kill(os.getpid(), number)  # in the middle of a step, as Ctrl-C comes
        return take_step(loop)

    monkeypatch.setattr(Loop, "take_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, options(12, **settings), tmp_path / "parts")
    monkeypatch.undo()
    assert load_tensors(tmp_path / "parts" / "state.pt", STATE, ("step",))["step"] == 8
    resumed = Regression()
    train(resumed, options(12, **settings), tmp_path / "parts")
    assert_equal_weights(whole.model, resumed.model)
    first, second = (load_tensors(tmp_path / run / "state.pt", STATE, ()) for run in ("whole", "parts"))
    for name, value in first.get("ema", {}).items():
        assert torch.equal(second["ema"][name], value), name


def test_stop_is_a_point_on_the_curve_and_not_another_curve(tmp_path: Path) -> None:
    whole, parts = Regression(), Regression()
    train(whole, options(12), tmp_path / "whole")
    train(parts, options(12, stop=6), tmp_path / "parts")
    assert load_tensors(tmp_path / "parts" / "state.pt", STATE, ("step",))["step"] == 6
    train(parts, options(12), tmp_path / "parts")
    assert_equal_weights(whole.model, parts.model)


def test_accumulated_parts_give_the_step_of_the_whole_batch(tmp_path: Path) -> None:
    whole, parts = Regression(dropout=0.0), Regression(dropout=0.0)
    train(whole, options(10), tmp_path / "whole")
    train(parts, options(10, accumulate=4), tmp_path / "parts")
    assert_equal_weights(whole.model, parts.model, 1e-6)
    logs = [
        json.loads((tmp_path / run / "log.jsonl").read_text().splitlines()[0]) for run in ("whole", "parts")
    ]
    assert logs[0]["loss"] == pytest.approx(logs[1]["loss"], abs=1e-4)


def test_the_state_of_an_older_version_is_gone_on_from(tmp_path: Path) -> None:
    train(Regression(), options(5), tmp_path)
    state = load_tensors(tmp_path / "state.pt", STATE, ())
    del state["config"]["hidden"]  # a field that the configuration had not got yet
    save_tensors(
        tmp_path / "state.pt", STATE, {k: state[k] for k in ("config", "step", "model", "optimizer")}
    )
    stage = Regression()
    train(stage, options(8, ema=0.9), tmp_path)
    state = load_tensors(tmp_path / "state.pt", STATE, ("ema",))
    assert state["step"] == 8
    for name, value in trained_weights(state).items():
        torch.testing.assert_close(value, stage.model.state_dict()[name], rtol=0.1, atol=0.1)


def test_averaged_weights_are_scored_kept_and_preferred(tmp_path: Path) -> None:
    plain, averaged = Regression(), Regression()
    train(plain, options(150, learning_rate=0.05), tmp_path / "plain")
    train(averaged, options(150, learning_rate=0.05, ema=0.9), tmp_path / "ema")
    assert_equal_weights(plain.model, averaged.model)  # the average looks on
    state = load_tensors(tmp_path / "ema" / "state.pt", STATE, ("ema",))
    weights = trained_weights(state)
    assert set(weights) == set(state["model"])
    assert not torch.equal(weights["0.weight"], state["model"]["0.weight"])
    averaged.model.load_state_dict(weights)
    averaged.model.eval()
    last = json.loads((tmp_path / "ema" / "log.jsonl").read_text().splitlines()[-1])
    assert last["held-out square"] == pytest.approx(
        averaged.evaluate(torch.device("cpu"))["square"], abs=1e-4
    )
    assert trained_weights(load_tensors(tmp_path / "plain" / "state.pt", STATE, ()))["0.weight"].shape == (
        8,
        3,
    )


def test_the_average_follows_within_the_steps_that_its_decay_names() -> None:
    """An average that lags behind by thousands of steps is worse than none."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    average = moving_average(model, 0.99)
    for _ in range(1000):
        average.update_parameters(model)
    torch.nn.init.ones_(model.weight)
    for _ in range(100):
        average.update_parameters(model)
    assert average.module.weight.item() == pytest.approx(1 - 0.99**100, abs=1e-3)


def test_buffers_are_copied_and_not_averaged() -> None:
    """The codebooks of a quantizer, and the flag that they have been initialised, belong together."""
    quantizer = Quantizer(4, 2, 16)
    average = moving_average(quantizer, 0.99)
    for _ in range(5):
        quantizer(torch.randn(4, 32, 4))
        average.update_parameters(quantizer)
    assert_equal_weights(average.module, quantizer)
    latents = torch.randn(2, 8, 4)
    assert torch.equal(average.module.encode(latents), quantizer.encode(latents))


def test_the_average_of_ema_pytorch_goes_on(tmp_path: Path) -> None:
    """Version 0.1 kept its averages with that package."""
    train(Regression(), options(8, ema=0.9, stop=5), tmp_path)
    state = load_tensors(tmp_path / "state.pt", STATE, ("ema",))
    kept = trained_weights(state)
    former = {f"ema_model.{name}": value for name, value in kept.items()}
    state["ema"] = {**former, "initted": torch.tensor(True), "step": torch.tensor(5)}
    assert trained_weights(state).keys() == kept.keys()
    save_tensors(tmp_path / "state.pt", STATE, state)
    train(Regression(), options(8, ema=0.9), tmp_path)
    whole = tmp_path / "whole"
    train(Regression(), options(8, ema=0.9), whole)
    first, second = (trained_weights(load_tensors(f / "state.pt", STATE, ())) for f in (tmp_path, whole))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


TWO_PROCESSES = """
import gc
import sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
from test_loop import Regression, options
from soundstorm_edge.training.loop import train
for dropout in (0.0, 0.5):
    train(Regression(dropout=dropout), options(10, ema=0.9), Path(sys.argv[2]) / str(dropout))
gc.collect()  # as the command line parts from the others
torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """Runs of two processes, over gloo: without random numbers in the loss, and with dropout."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "script.py").write_text(TWO_PROCESSES)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    ran = subprocess.run(
        [*run, folder / "script.py", Path(__file__).parent, folder],
        env=environment | {"ACCELERATE_USE_CPU": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.mark.parametrize(("dropout", "accumulate"), [(0.0, 1), (0.5, 2)])
def test_two_processes_are_one_with_twice_the_batch(
    two_processes: Path, tmp_path: Path, dropout: float, accumulate: int
) -> None:
    """With dropout it is the one that accumulates two parts: each part has its own random numbers."""
    train(Regression(dropout=dropout), options(10, ema=0.9, accumulate=accumulate), tmp_path)
    folders = (tmp_path, two_processes / str(dropout))
    states = [load_tensors(folder / "state.pt", STATE, ("ema",)) for folder in folders]
    for name, value in states[0]["model"].items():
        torch.testing.assert_close(states[1]["model"][name], value, rtol=1e-5, atol=1e-6)
    logs = [(folder / "log.jsonl").read_text().splitlines() for folder in folders]
    assert len(logs[0]) == len(logs[1]), "only one process writes"
    for first, second in zip(*(map(json.loads, log) for log in logs), strict=True):
        del first["seconds"], second["seconds"]
        assert first == pytest.approx(second, abs=2e-4)


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a batch of 8 does not divide .* make batch a multiple of 3"):
        train(Regression(), options(1, accumulate=3), tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_fp16_is_refused_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AcceleratorState, "_shared_state", {})  # a process has one precision otherwise
    with pytest.raises(ConfigError, match="fp16 is set on cpu, expected a GPU; set bf16 instead"):
        train(Regression(), options(1, fp16=True), tmp_path)


def test_bf16_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AcceleratorState, "_shared_state", {})
    train(Regression(), options(40, bf16=True, learning_rate=0.05), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    scores = [row["held-out square"] for row in rows if "held-out square" in row]
    assert scores[-1] < 0.3 * scores[0]


def test_tensorboard_gets_numbers_and_audio(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(Regression(), options(5, trackers=("tensorboard",)), tmp_path)
    found = accumulator.EventAccumulator(str(tmp_path / "soundstorm")).Reload()
    assert {"loss", "square", "held-out square"} <= set(found.Tags()["scalars"])
    assert found.Tags()["audio"] == ["noise"]
    assert soundfile.info(tmp_path / "samples" / "noise-4.wav").samplerate == 8000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trackers": ("nobody",)}, "training cannot start .*nobody.* change optimization in the recipe"),
        (
            {"trackers": ("aim",)},
            "trackers names 'aim', whose package is not installed; run 'pip install aim'",
        ),
    ],
)
def test_trackers_that_are_absent_are_named(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(Regression(), options(1, **settings), tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ema": 1.0}, r"ema is 1\.0, expected 0 \(none\) or a decay below 1"),
        ({"stop": -1}, "stop is -1"),
        ({"bf16": True, "fp16": True}, "bf16 and fp16 are both set"),
        ({"accumulate": 0}, "accumulate is 0, expected 1 or more"),
    ],
)
def test_impossible_options_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Optimization(**settings)


def test_training_logs_and_learns(tmp_path: Path) -> None:
    train(Regression(), options(200), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    scores = [row["held-out square"] for row in rows if "held-out square" in row]
    assert len(scores) == 40
    assert scores[-1] < 0.3 * scores[0]


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    train(Regression(), options(1), tmp_path)
    before = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(CheckpointError, match="another recipe; remove it or choose another --run"):
        train(Regression(Line(hidden=9)), options(2), tmp_path)
    assert (tmp_path / "state.pt").read_bytes() == before


def test_the_rate_warms_up_and_decays() -> None:
    rates = [Optimization(steps=100, warmup=10).rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert int(np.argmax(rates)) == 9
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.04, abs=0.005)
