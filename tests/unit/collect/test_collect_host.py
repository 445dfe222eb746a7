"""The name of the host."""

from __future__ import annotations

import os

import pytest

from apm_run.collect import host

HOSTS = """
# a comment
127.0.0.1 localhost
127.0.1.1\tweb-1.example.com web-1   # web-1.wrong.com
10.0.0.7  POD-0.sub.ns.svc.cluster.local Pod-0
::1 alone
"""


@pytest.mark.parametrize(
    ("name", "environ", "etc", "want"),
    [
        ("web-1", {}, "", "web-1.example.com"),
        ("WEB-1\n", {}, "", "web-1.example.com"),
        ("pod-0", {}, "", "pod-0.sub.ns.svc.cluster.local"),
        ("alone", {}, "", "alone"),
        ("unlisted", {"HOSTNAME": "x"}, "", "unlisted"),
        ("a.b", {}, "", "a.b"),
        ("\u00c4B", {}, "", "\u00c4b"),
        ("localhost", {"HOSTNAME": " Web-9\x00 "}, "etc", "web-9"),
        ("(none)", {"HOST": "h"}, "etc", "h"),
        ("", {"COMPUTERNAME": "PC"}, "etc", "pc"),
        ("", {"HOSTNAME": "localhost"}, "Etc.example.com\n", "etc.example.com"),
        ("", {}, "\n", None),
    ],
)
def test_detected(name: str, environ: dict[str, str], etc: str, want: str | None) -> None:
    assert host.detected(name, HOSTS, environ, etc) == want


def test_this_host() -> None:
    assert host.short_name() == os.uname().nodename
    assert host.detect({"HOSTNAME": "fallback"})


def test_a_system_without_uname(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "uname")
    assert host.short_name() == ""
    assert host.detect({"COMPUTERNAME": "PC-1"}) is not None
