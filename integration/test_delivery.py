"""A sample of `make delivery`: the delivery contract with real processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from integration import delivering, delivery_places, delivery_soak
from integration.delivering import Folder


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


@pytest.fixture
def mounts():
    if not delivery_places.may_mount():
        pytest.skip("no mount namespace can be had here")


def test_a_server_that_is_away_loses_nothing(folder):
    modes = ["503", "429", "refused", "hang", "reset", "413"]
    with ThreadPoolExecutor(len(modes)) as pool:
        rows = pool.map(lambda mode: delivering.outage(mode, folder / mode, 10, 40, away=(1.5, 7.5)), modes)
        for row in rows:
            assert (row.case, row.wrong, row.put) == (row.case, [], 400)
            assert row.requests >= 3


def test_errors_in_a_burst(folder):
    for number, seconds, most in ((40, 0.1, 2), (300, 2, 5)):
        row = delivering.failures(number, seconds, folder / str(number), most)
        assert row.wrong == []
        assert row.put == number


def test_kills_at_random(folder):
    row = delivering.kills(12, folder, seed=5)
    assert row.wrong == []
    assert row.put > 1000


def test_more_workers_than_large_files_have_room(folder):
    assert delivering.crowd(100, 5, folder).wrong == []


def test_two_adopters_and_a_sibling_at_once(folder):
    row = delivering.adopters(folder, victims=3)
    assert row.wrong == []


def test_forks_while_threads_work(folder):
    row = delivering.forks(100, folder)
    assert row.wrong == []


@pytest.mark.parametrize("name", [name for name, place in delivery_places.PLACES.items() if not place.mount])
def test_places_of_the_outbox(name, folder):
    assert delivery_places.place(name, folder).wrong == []


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("name", [name for name, place in delivery_places.PLACES.items() if place.mount])
def test_places_of_the_outbox_in_a_mount_namespace(name, folder):
    assert delivery_places.place(name, folder).wrong == []


@pytest.mark.usefixtures("mounts")
def test_what_no_room_is_left_for_is_counted_and_told(folder):
    assert delivery_places.evictions(folder).wrong == []


def test_a_server_that_flaps_slows_nobody_down(folder):
    row = delivery_soak.soak(folder, minutes=0.4, scale=0.25)
    assert row.wrong == []
