"""All servers of the matrix, Apache and those of an environment of their own among them."""

from __future__ import annotations

import sys

import pytest
from tests.launch.serving import APACHE, SERVERS, Serving, missing
from tests.launch.test_servers import SAMPLE, check
from tests.receiver import Sink


@pytest.mark.parametrize("way", [way for way in SERVERS if way not in SAMPLE])
def test_the_server(way, tmp_path):
    check(way, tmp_path)


def test_a_sub_interpreter_of_apache_is_left_alone():
    """Without the group ``%{GLOBAL}`` an application has an interpreter of its own, whose end must not wait for us."""
    absent = missing(sys.executable, "mod_wsgi")
    if absent:
        pytest.skip(absent)

    configuration = APACHE.replace("WSGIApplicationGroup %{{GLOBAL}}\n", "")
    assert configuration != APACHE

    def run(sink):
        with Serving(SERVERS["mod_wsgi"], sys.executable, sink, configuration) as served:
            return len(served.twenty()), served.end(), served.log

    with Sink() as sink:
        assert run(sink) == run(None)
        sink.wait_idle()
        assert sink.events == []
