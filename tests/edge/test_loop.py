"""The training loop: exact resumption, the rate, batches, saved state."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from soundstorm_edge.conformer import ConformerConfig
from soundstorm_edge.errors import CheckpointError
from soundstorm_edge.files import load_tensors
from soundstorm_edge.training import loop
from soundstorm_edge.training.batches import draw_alike, pad
from soundstorm_edge.training.loop import Optimization, Stage, train


class Regression(Stage):
    """A line to fit, with dropout, so that random states matter."""

    name = "regression"

    def __init__(self, config: ConformerConfig | None = None) -> None:
        self.config = config or ConformerConfig()
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        x = torch.from_numpy(rng.standard_normal((size, 3)).astype(np.float32))
        return x, x.sum(dim=1, keepdim=True)

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (model(batch[0]) - batch[1]).pow(2).mean()
        return loss, {"square": loss.detach()}

    def evaluate(self, device: torch.device) -> dict[str, float]:
        return {"square": self.loss(self.model, self.batch(64, np.random.default_rng(9)))[0].item()}


def options(steps: int) -> Optimization:
    return Optimization(steps=steps, batch=8, learning_rate=1e-2, warmup=2, save_every=5)


def test_a_resumed_run_is_the_run_that_was_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Regression()
    train(whole, options(12), tmp_path / "whole")

    stopped, update = Regression(), loop._update

    def interrupt(*arguments):  # type: ignore[no-untyped-def]
        if arguments[-1] == 7:
            os.kill(os.getpid(), signal.SIGINT)  # in the middle of a step, as Ctrl-C comes
        return update(*arguments)

    monkeypatch.setattr(loop, "_update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, options(12), tmp_path / "parts")
    monkeypatch.undo()
    assert load_tensors(tmp_path / "parts" / "state.pt", loop.STATE, ("step",))["step"] == 8
    resumed = Regression()
    train(resumed, options(12), tmp_path / "parts")
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], weight, rtol=0, atol=0)


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
        train(Regression(ConformerConfig(dim=8)), options(2), tmp_path)
    assert (tmp_path / "state.pt").read_bytes() == before


def test_the_rate_warms_up_and_decays() -> None:
    rates = [Optimization(steps=100, warmup=10).rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert int(np.argmax(rates)) == 9
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.04, abs=0.005)


def test_sequences_of_a_batch_are_about_as_long_as_one_another() -> None:
    lengths = np.random.default_rng(0).integers(10, 500, size=1000)
    rng = np.random.default_rng(1)
    drawn = [lengths[draw_alike(lengths, 16, rng)] for _ in range(300)]
    padding = np.mean([1 - batch.mean() / batch.max() for batch in drawn])
    assert padding < 0.12, "half, if they were drawn at random"
    assert np.concatenate(drawn).mean() == pytest.approx(lengths.mean(), rel=0.05), "none is favoured"


def test_pad() -> None:
    padded, lengths = pad([np.array([[1, 2]]), np.array([[3, 4], [5, 6]])])
    assert padded.tolist() == [[[1, 2], [0, 0]], [[3, 4], [5, 6]]]
    assert lengths.tolist() == [1, 2]
