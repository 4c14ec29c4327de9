"""`SoundStormTrainer`: the reference's call, exact resumption, data sets of every kind, results that stay."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from soundstorm_edge.errors import CheckpointError, CorpusError
from soundstorm_edge.nn.conformer import ConformerConfig
from soundstorm_edge.soundstorm.conformer_wrapper import ConformerWrapper
from soundstorm_edge.soundstorm.model import SoundStorm
from soundstorm_edge.training.compat.soundstorm_trainer import Curve, SoundStormTrainer

LEVELS, CODES, VOCABULARY = 2, 16, 10


class Items(Dataset[Any]):
    """Items as `make` gives them for a number."""

    def __init__(self, make: Callable[[int], Any], size: int = 20) -> None:
        self.make, self.size = make, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> Any:
        torch.manual_seed(number)
        return self.make(number)


def codes(number: int) -> Tensor:
    return torch.randint(CODES, (6 + number % 3, LEVELS))


def pair(number: int) -> tuple[Tensor, Tensor]:
    frames = codes(number)
    return frames[:, 0] % VOCABULARY, frames


def model(**options: Any) -> SoundStorm:
    torch.manual_seed(0)
    conformer = ConformerConfig(
        dim=16, depth=1, heads=2, dim_head=8, ff_mult=2, conv_kernel_size=3, ff_dropout=0.1
    )
    net = ConformerWrapper(codebook_size=CODES, num_quantizers=LEVELS, conformer=conformer)
    return SoundStorm(net, steps=2, schedule="cosine", **options)


def trainer(
    net: SoundStorm, folder: Path, dataset: Dataset[Any] | None = None, **settings: Any
) -> SoundStormTrainer:
    given: dict[str, Any] = {"num_train_steps": 6, "num_warmup_steps": 2, "batch_size": 4, "valid_frac": 0.2}
    given |= {"dataset": Items(codes) if dataset is None else dataset, "results_folder": folder, "lr": 1e-2}
    return SoundStormTrainer(net, **given | settings)


def assert_equal_weights(first: SoundStorm, second: SoundStorm) -> None:
    for name, weight in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], weight), name


def test_a_script_of_the_reference_runs(tmp_path: Path) -> None:
    net, seen = model(num_semantic_token_ids=VOCABULARY), []
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    made = SoundStormTrainer(
        net,
        num_train_steps=4,
        num_warmup_steps=1,
        batch_size=2,
        dataset=Items(pair),
        only_train_generator=False,
        lr=3e-4,
        initial_lr=1e-5,
        grad_accum_every=2,
        wd=0.01,
        max_grad_norm=0.5,
        valid_frac=0.05,
        random_split_seed=42,
        save_results_every=2,
        save_model_every=2,
        results_folder=str(tmp_path / "results"),
        accelerate_kwargs={},
        split_batches=False,
        drop_last=False,
        force_clear_prev_results=False,
    )
    made.train(seen.append)
    assert made.steps == len(seen) == 4
    assert all(set(logs) == {"loss", "generator_loss", "critic_loss"} for logs in seen)
    assert any(not torch.equal(weight, before[name]) for name, weight in net.state_dict().items())
    assert sorted(p.name for p in (tmp_path / "results").glob("*.pt")) == [
        "soundstorm.2.pt",
        "soundstorm.4.pt",
    ]
    rows = [json.loads(line) for line in (tmp_path / "results" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "held-out loss" in row] == [2, 4]
    tokens = torch.randint(VOCABULARY, (2, 5))
    assert made.generate(cond_semantic_token_ids=tokens).shape == (2, 5, LEVELS)
    assert made.model is net
    assert net.training


@pytest.mark.parametrize(
    ("options", "item", "settings"),
    [
        ({}, codes, {}),
        ({}, codes, {"grad_accum_every": 2, "wd": 0.1, "drop_last": True}),
        ({"num_semantic_token_ids": VOCABULARY, "self_token_critic": True}, pair, {}),
    ],
)
def test_a_resumed_training_is_the_one_that_was_not_stopped(
    tmp_path: Path, options: dict[str, Any], item: Callable[[int], Any], settings: dict[str, Any]
) -> None:
    whole = trainer(model(**options), tmp_path / "whole", Items(item), **settings)
    whole.train()
    begun = trainer(model(**options), tmp_path / "parts", Items(item), **settings)
    for _ in range(3):
        begun.train_step()
    begun.save(tmp_path / "three.pt")
    resumed = trainer(model(**options), tmp_path / "parts", Items(item), **settings)
    resumed.load(tmp_path / "three.pt")
    torch.manual_seed(99)  # whatever was drawn in between
    resumed.train()
    assert resumed.steps == 6
    assert_equal_weights(whole.model, resumed.model)


def test_weights_alone_begin_anew(tmp_path: Path) -> None:
    first = trainer(model(), tmp_path / "first")
    first.train_step()
    first.save(tmp_path / "one.pt")
    second = trainer(model(), tmp_path / "second")
    second.load(str(tmp_path / "one.pt"), restore_optimizer=False)
    assert second.steps == 0
    assert_equal_weights(first.model, second.model)


def test_the_state_of_another_model_is_refused(tmp_path: Path) -> None:
    first = trainer(model(), tmp_path / "first")
    first.save(tmp_path / "none.pt")
    second = trainer(model(self_token_critic=True), tmp_path / "second")
    with pytest.raises(CheckpointError, match="was trained with another recipe"):
        second.load(tmp_path / "none.pt")


def test_only_the_critic_is_trained(tmp_path: Path) -> None:
    net = model(self_token_critic=True)
    logs = trainer(net, tmp_path, only_train_critic=True).train_step()
    assert logs["generator_loss"] == 0 < logs["critic_loss"] == pytest.approx(logs["loss"])
    logs = trainer(model(self_token_critic=True), tmp_path, only_train_generator=True).train_step()
    assert logs["critic_loss"] == 0 < logs["generator_loss"]


def test_padding_is_not_learnt(tmp_path: Path) -> None:
    made = trainer(model(num_semantic_token_ids=VOCABULARY), tmp_path, Items(pair), valid_frac=0)
    stage = made.loop.stage
    short, long = stage.sample(0, None), stage.sample(2, None)  # type: ignore[attr-defined]
    x, mask, tokens = stage.collate([short, long])  # type: ignore[attr-defined]
    assert x.shape == (2, len(long[0]), LEVELS)
    assert mask.sum(dim=1).tolist() == [len(short[0]), len(long[0])]
    assert (tokens[0, len(short[0]) :] == -1).all()
    x, mask, _ = stage.collate([long, long])  # type: ignore[attr-defined]
    assert not mask.numel(), "no mask where there is no padding"


def test_the_rate_is_that_of_the_reference() -> None:
    curve = Curve(steps=100, warmup=10, learning_rate=1e-3, initial_rate=1e-5)
    rates = [curve.rate(step) * 1e-3 for step in range(111)]
    assert rates[0] == pytest.approx(1e-5)
    assert rates[5] == pytest.approx((1e-5 + 1e-3) / 2)
    assert rates[10] == pytest.approx(1e-3, rel=1e-3)
    assert rates[59] == pytest.approx(0.5e-3)
    assert rates[109] == pytest.approx(0, abs=1e-9)


def test_accumulated_batches_make_a_larger_one(tmp_path: Path) -> None:
    made = trainer(model(), tmp_path, grad_accum_every=3)
    assert (made.loop.options.batch, made.loop.parts) == (12, 3)


def test_earlier_results_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda question: pytest.fail("it asked"))
    trainer(model(), tmp_path).train()
    kept = (tmp_path / "soundstorm.6.pt").read_bytes()
    again = trainer(model(), tmp_path)
    with pytest.raises(
        CheckpointError, match=r"soundstorm\.6\.pt is of another run.* would write over it; load it"
    ):
        again.train()
    again.load(tmp_path / "soundstorm.6.pt")
    again.train()  # nothing is left to do
    assert (tmp_path / "soundstorm.6.pt").read_bytes() == kept
    trainer(model(), tmp_path, force_clear_prev_results=False).train()
    assert (tmp_path / "log.jsonl").exists()
    trainer(model(), tmp_path, force_clear_prev_results=True)
    assert not tmp_path.exists()


@pytest.mark.parametrize(
    "settings", [{"batch_size": 17}, {"valid_frac": 0.01, "dataset": Items(codes, size=3)}]
)
def test_too_small_a_data_set_is_named(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(
        CorpusError, match=r"dataset has \d+ items to train on and \d held out, expected at least"
    ):
        trainer(model(), tmp_path, **settings)


def test_without_a_split_all_is_trained_on(tmp_path: Path) -> None:
    made = trainer(model(), tmp_path, Items(codes, size=4), valid_frac=0)
    assert len(made.loop.stage.lengths) == 4  # type: ignore[attr-defined]
