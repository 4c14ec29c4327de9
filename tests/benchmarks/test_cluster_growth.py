"""The simulation of replicas: what queueing theory and common sense demand."""

from __future__ import annotations

import pytest

from benchmarks.cluster_growth import Replica, Service, simulate

SERVICES = [Service(0.1, 0.2)]


def test_an_idle_replica_is_as_fast_as_it_was_measured():
    point = simulate(SERVICES, 4, 0.01, 500)
    assert point.median == pytest.approx(0.1)
    assert point.p95 < 0.12


def test_first_audio_of_all_comes_before_the_rest_of_any():
    replica = Replica()
    for _ in range(8):
        replica.add(0.0, Service(0.1, 5.0))
    replica.advance(100.0)
    assert replica.waited == pytest.approx([0.1 * (place + 1) for place in range(8)])
    assert replica.ongoing == 0


def test_work_in_progress_delays_a_text_by_a_part_of_a_step():
    replica = Replica()
    replica.add(0.0, Service(0.1, 5.0))
    replica.advance(1.0)
    replica.add(1.0, Service(0.1, 5.0))
    replica.advance(2.0)
    assert 0.1 < replica.waited[1] < 0.12


def test_the_tail_grows_with_load_and_shrinks_with_replicas():
    def p95(replicas: int, load: float) -> float:
        return simulate(SERVICES, replicas, load, 4000).p95

    assert p95(1, 0.9) > p95(1, 0.5)
    assert p95(20, 0.9) < p95(1, 0.9)
