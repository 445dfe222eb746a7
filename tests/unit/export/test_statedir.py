from __future__ import annotations

import os
import stat

import pytest

from apm_run.export import statedir


def mode(path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize(
    ("environ", "first"),
    [
        ({"APM_RUN_STATE_DIR": "a", "STATE_DIRECTORY": "b"}, "a"),
        ({"STATE_DIRECTORY": "b:c", "XDG_STATE_HOME": "d"}, "b/apm-run"),
        ({"XDG_STATE_HOME": "d", "HOME": "e"}, "d/apm-run"),
        ({"HOME": "e", "TMPDIR": "f"}, "e/.local/state/apm-run"),
        ({"TMPDIR": "f"}, f"f/apm-run-{os.geteuid()}"),
    ],
)
def test_the_first_usable_place_is_taken(environ, first, tmp_path):
    environ = {name: ":".join(str(tmp_path / part) for part in value.split(":")) for name, value in environ.items()}
    assert statedir.find(environ) == str(tmp_path / first / "outbox")
    assert mode(tmp_path / first) == mode(tmp_path / first / "outbox") == 0o700


def test_relative_variables_are_no_places():
    assert list(statedir.candidates({"HOME": "x", "TMPDIR": "y", "XDG_STATE_HOME": ""})) == [
        f"/tmp/apm-run-{os.geteuid()}",
        f"/var/tmp/apm-run-{os.geteuid()}",
    ]


def test_a_place_that_is_not_safe_is_passed_over(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "file").write_text("")
    for name in ("link", "file", "file/below", "\0"):
        environ = {"APM_RUN_STATE_DIR": str(tmp_path / name), "TMPDIR": str(tmp_path)}
        assert statedir.find(environ) == str(tmp_path / f"apm-run-{os.geteuid()}" / "outbox")
    assert statedir.find({"APM_RUN_STATE_DIR": "/proc/x", "TMPDIR": str(tmp_path)}).startswith(str(tmp_path))


def test_nowhere_is_none(monkeypatch):
    monkeypatch.setattr(statedir, "candidates", lambda environ: ["/proc/x"])
    assert statedir.find({}) is None


def test_an_outbox_that_others_may_read_is_closed(tmp_path):
    (tmp_path / "outbox").mkdir(mode=0o755)
    assert statedir.find({"APM_RUN_STATE_DIR": str(tmp_path)}) == str(tmp_path / "outbox")
    assert mode(tmp_path / "outbox") == 0o700


@pytest.mark.parametrize("given", [0o1777, 0o777, 0o755])
def test_the_mode_of_a_directory_that_was_there_is_left_alone(tmp_path, given):
    """Root may name /tmp, or the root of a volume."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(given)
    found = statedir.find({"APM_RUN_STATE_DIR": str(tmp_path / "shared")})
    assert found == str(tmp_path / "shared/outbox")
    assert (mode(tmp_path / "shared"), mode(found)) == (given, 0o700)
    assert statedir.key(found)
    assert mode(tmp_path / "shared/key") == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_directory_of_another_user_is_passed_over(tmp_path):
    theirs = tmp_path / f"apm-run-{os.geteuid()}"
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)
    found = statedir.find({"TMPDIR": str(tmp_path)})
    assert found is None or not found.startswith(str(tmp_path))


def test_the_key_is_made_once_and_kept_to_us(tmp_path):
    outbox = str(tmp_path / "outbox")
    key = statedir.key(outbox)
    assert len(key) == 32
    assert statedir.key(outbox) == key
    assert mode(tmp_path / "key") == 0o600
    assert os.listdir(tmp_path) == ["key"]


def test_a_key_that_others_can_read_or_that_is_torn_is_not_used(tmp_path):
    outbox = str(tmp_path / "outbox")
    (tmp_path / "key").write_bytes(b"k" * 32)
    (tmp_path / "key").chmod(0o644)
    assert statedir.key(outbox) is None
    (tmp_path / "key").chmod(0o600)
    assert statedir.key(outbox) == b"k" * 32
    (tmp_path / "key").write_bytes(b"k")
    assert statedir.key(outbox) is None
    (tmp_path / "key").unlink()
    (tmp_path / "key").symlink_to("/etc/passwd")
    assert statedir.key(outbox) is None
    assert statedir.key("/proc/x/outbox") is None
