"""Training with the reference and with ours, from the same weights, on what the reference draws."""

from importlib.util import find_spec

import pytest

from benchmarks import training_comparison as comparison


@pytest.mark.skipif(find_spec("soundstorm_pytorch") is None, reason="soundstorm-pytorch is not installed")
def test_the_losses_are_those_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.interop import oracles  # noqa: F401 - before the reference packages

    monkeypatch.setattr(comparison, "NET", {"codebook_size": 16, "num_quantizers": 3})
    small = {"dim": 16, "depth": 2, "heads": 2, "dim_head": 8, "conv_kernel_size": 3}
    monkeypatch.setattr(comparison, "CONFORMER", small)
    monkeypatch.setattr(comparison, "FRAMES", 12)
    losses = comparison.compare_losses(5)
    theirs, ours = losses["soundstorm-pytorch"], losses["soundstorm-edge"]
    assert len(set(theirs)) == 5
    assert ours == pytest.approx(theirs, abs=1e-4)
