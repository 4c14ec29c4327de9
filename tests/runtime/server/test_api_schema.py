"""The OpenAPI description holds: schemathesis asks for all it allows, and for what it does not."""

from __future__ import annotations

import pytest

pytest.importorskip("schemathesis", reason="schemathesis is absent: pip install 'soundstorm-edge[dev]'")

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

# A text without a letter, or a voice that is not there, is allowed by the description and refused.
REFUSED = "positive_data_acceptance"


@pytest.mark.parametrize("token", [None, "secret"])
def test_every_answer_is_as_described(bundle, start, token):
    variables = {} if token is None else {"SOUNDSTORM_TOKEN": token}
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with start(bundle, **variables) as served:
        _check(f"{served.url}/openapi.json", headers)


def _check(url: str, headers: dict[str, str]) -> None:
    schema = schemathesis.openapi.from_url(url)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 12
    excluded = [schemathesis.checks.CHECKS.get_one(REFUSED)]
    for operation in operations:
        modes = [operation.as_strategy(generation_mode=mode) for mode in _modes(operation)]

        @given(case=st.one_of(modes))
        @settings(
            max_examples=30,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def holds(case):
            case.call_and_validate(headers=headers, excluded_checks=excluded)

        holds()


def _modes(operation) -> list:
    """What is allowed, and what is not, where there is anything to get wrong."""
    positive, negative = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
    return [positive, negative] if operation.body else [positive]
