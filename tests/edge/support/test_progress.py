"""Progress bars on standard error."""

import logging

import pytest

from soundstorm_edge.support.progress import progress_bar


@pytest.mark.parametrize(
    ("level", "shown", "printed"),
    [(logging.INFO, True, True), (logging.INFO, False, False), (logging.WARNING, True, False)],
)
def test_quiet_turns_bars_off(
    level: int,
    shown: bool,
    printed: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("soundstorm_runtime"), "level", level)
    assert list(progress_bar([1, 2, 3], shown=shown, desc="work", unit="step")) == [1, 2, 3]
    assert ("work: 100%" in capsys.readouterr().err) == printed
