from __future__ import annotations

import pytest

from apm_run.export.pace import Pace


def pace(random: float = 0.5) -> Pace:
    return Pace(10.0, lambda: random)


def test_the_first_batch_goes_a_quarter_second_after_the_first_event():
    assert pace().due(100.0, 100.2, False) == 100.25


def test_then_a_second_after_the_last_event():
    made = pace()
    made.succeeded()
    assert made.due(100.0, 100.0, False) == 101.0
    assert made.due(100.0, 104.5, False) == 105.5


@pytest.mark.parametrize(("random", "seconds"), [(0.0, 9.0), (0.5, 10.0), (1.0, 11.0)])
def test_steady_traffic_goes_by_api_request_time_with_jitter(random, seconds):
    made = pace(random)
    made.succeeded()
    assert made.due(100.0, 125.0, False) == pytest.approx(100.0 + seconds)


def test_a_full_batch_goes_at_once():
    made = pace()
    made.succeeded()
    assert made.due(100.0, 100.1, True) <= 100.1


def test_back_off_follows_the_specified_sequence_and_success_ends_it():
    made = pace()
    steps = []
    for _ in range(8):
        made.failed(100.0)
        steps.append(made.held_until - 100.0)
    assert steps == [0.0, 1.0, 4.0, 9.0, 16.0, 25.0, 36.0, 36.0]
    assert made.due(50.0, 50.0, True) == 136.0, "nothing else counts"
    made.succeeded()
    assert made.held_until == 0.0
    made.failed(100.0)
    assert made.held_until == 100.0


@pytest.mark.parametrize(("random", "seconds"), [(0.0, 32.4), (1.0, 39.6)])
def test_a_refusal_goes_to_the_slowest_pace_at_once(random, seconds):
    made = pace(random)
    made.refused(100.0)
    assert made.held_until == pytest.approx(100.0 + seconds)
    made.failed(100.0)
    assert made.held_until == pytest.approx(100.0 + seconds)
