"""Stack frames: whose they are, and the source around them."""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import os
import subprocess
import sys
import time
import zipfile

import pytest
from tests.engine import settings

from apm_run.tracer import stack
from apm_run.tracer.stack import Stacks


def render(frames, app, library):
    return Stacks(settings()).render(frames, app, library)


def frames_of(function, *args, limit=-1):
    try:
        function(*args)
    except Exception as error:
        return stack.of_traceback(error.__traceback__.tb_next, limit)
    raise AssertionError("it did not raise")


def load(path, name="program"):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def source_of(tmp_path, text, **more):
    """Write a program whose function ``fail`` raises in line 3, and return the frame of it."""
    path = tmp_path / "program.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    (frame,) = render(frames_of(load(path).fail), more.get("app", 5), 0)
    return frame


LINES = "# 1\ndef fail():\n    raise ValueError  # 3\n# 4\n# 5\n# 6\n"


def test_frame(tmp_path):
    frame = source_of(tmp_path, LINES)
    assert frame == {
        "filename": "program.py",
        "abs_path": str(tmp_path / "program.py"),
        "function": "fail",
        "module": "program",
        "lineno": 3,
        "library_frame": False,
        "context_line": "    raise ValueError  # 3",
        "pre_context": ["# 1", "def fail():"],
        "post_context": ["# 4", "# 5"],
    }


@pytest.mark.parametrize(
    ("count", "pre", "post"), [(0, None, None), (1, 0, 0), (2, 0, 1), (3, 1, 1), (4, 1, 2), (5, 2, 2), (99, 2, 4)]
)
def test_how_many_lines(tmp_path, count, pre, post):
    frame = source_of(tmp_path, LINES, app=count)
    if count == 0:
        assert not {"context_line", "pre_context", "post_context"} & set(frame)
    else:
        assert (len(frame["pre_context"]), len(frame["post_context"])) == (pre, post)
        assert frame["context_line"] == "    raise ValueError  # 3"


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_ends_of_lines(tmp_path, ends):
    assert source_of(tmp_path, LINES.replace("\n", ends))["context_line"] == "    raise ValueError  # 3"


def test_form_feeds_and_other_separators_end_no_line(tmp_path):
    frame = source_of(tmp_path, "# 1\x0c\x0b\x1c\x85\u2028 more\ndef fail():\n    raise ValueError  # 3")
    assert frame["context_line"] == "    raise ValueError  # 3"
    assert frame["post_context"] == []


@pytest.mark.parametrize(
    ("declaration", "encoding"),
    [
        ("# -*- coding: latin-1 -*-", "latin-1"),
        ("# vim: set fileencoding=cp1252 :", "cp1252"),
        ("#!/usr/bin/python\n# coding=utf-8", "utf-8"),
        ("", "utf-8"),
        ("\ufeff", "utf-8"),
    ],
)
def test_encodings(tmp_path, declaration, encoding):
    text = f"{declaration}\ndef fail():\n    raise ValueError('ä')\n"
    assert source_of(tmp_path, text.encode(encoding))["context_line"] == "    raise ValueError('ä')"


@pytest.mark.parametrize("declaration", ["# coding: no-such-codec", "# coding:", "# coding: hex", "# coding: a\0b"])
def test_encodings_that_are_none(tmp_path, declaration):
    path = tmp_path / "program.py"
    path.write_text(LINES)
    fail = load(path).fail
    path.write_bytes(f"{declaration}\n\n    # \xe4 3\n".encode("latin-1"))
    (frame,) = render(frames_of(fail), 1, 0)
    assert frame.get("context_line") in (None, "    # \ufffd 3")


def test_a_file_that_has_changed_or_gone(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(LINES)
    frames = frames_of(load(path).fail)
    path.write_text("short\n")
    (frame,) = render(frames, 5, 0)
    assert "context_line" not in frame
    path.unlink()
    (frame,) = render(frames, 5, 0)
    assert "context_line" not in frame
    assert frame["lineno"] == 3


def test_long_lines_are_cut(tmp_path):
    frame = source_of(tmp_path, f"# 1\ndef fail():\n    raise ValueError  # {'x' * 10_000}\n")
    assert len(frame["context_line"]) == 300


def test_huge_files_are_read_in_part(tmp_path):
    frame = source_of(tmp_path, LINES + "#" * 3_000_000)
    assert frame["context_line"] == "    raise ValueError  # 3"


def test_zip_file(tmp_path, monkeypatch):
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped_program.py", LINES)
    monkeypatch.syspath_prepend(str(archive))
    module = importlib.import_module("zipped_program")
    monkeypatch.delitem(sys.modules, "zipped_program")
    (frame,) = render(frames_of(module.fail), 5, 0)
    assert frame["context_line"] == "    raise ValueError  # 3"
    assert frame["filename"] == "zipped_program.py"
    assert frame["library_frame"] is False


class Loader:
    def __init__(self, answer):
        self.answer = answer

    def get_source(self, name):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "line"), [("one\ntwo\nthree", "three"), (None, None), (ImportError(), None), (LookupError(), None)]
)
def test_loaders_that_know_the_source(answer, line):
    scope = {"__name__": "program", "__loader__": Loader(answer)}
    exec(compile(LINES, "/no/such/file.py", "exec"), scope)
    (frame,) = render(frames_of(scope["fail"]), 1, 0)
    assert frame.get("context_line") == line


@pytest.mark.parametrize("name", ["<string>", "<stdin>", "<generated by attrs>"])
def test_generated_code_shows_no_lines_of_its_module(name):
    scope = {"__name__": "program", "__loader__": Loader(LINES)}
    exec(compile(LINES, name, "exec"), scope)
    (frame,) = render(frames_of(scope["fail"]), 5, 5)
    assert "context_line" not in frame
    assert frame["library_frame"] is True
    assert frame["filename"] == name


def test_nothing_is_taken_from_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    os.write(reader, b"of the program")
    scope: dict = {}
    exec(compile(LINES, str(pipe), "exec"), scope)
    (frame,) = render(frames_of(scope["fail"]), 5, 5)
    assert "context_line" not in frame
    assert os.read(reader, 100) == b"of the program"
    os.close(reader)


def test_odd_file_names(tmp_path):
    for name in ("nul\0.py", "", "\udcff.py", "relative.py", str(tmp_path)):
        scope: dict = {}
        try:
            exec(compile(LINES, name, "exec"), scope)
        except ValueError:  # which the interpreter may refuse
            continue
        (frame,) = render(frames_of(scope["fail"]), 5, 5)
        assert frame["abs_path"] == name
        assert "context_line" not in frame


def test_ours_are_left_out():
    code = compile(LINES, stack.__file__.replace("stack.py", "other.py"), "exec")
    scope: dict = {}
    exec(code, scope)
    assert frames_of(scope["fail"]) == []


def outer(function):
    return function()


def test_frames_of_the_caller():
    frames = stack.of_caller(sys._getframe(), 2)
    assert len(frames) == 2
    assert frames[0][0].co_name == "test_frames_of_the_caller"
    assert len(stack.of_caller(sys._getframe(), -1)) > 10
    assert outer(lambda: stack.of_caller(sys._getframe(1), 1))[0][0].co_name == "outer"
    assert stack.of_caller(None, 5) == []


def test_innermost_first_and_limited():
    def middle():
        raise ValueError

    def function():
        middle()

    assert [code.co_name for code, *_ in frames_of(function)] == ["middle", "function"]
    assert [code.co_name for code, *_ in frames_of(function, limit=1)] == ["middle"]
    assert frames_of(function, limit=0) == []


def raw(path, function="work", module="program"):
    code = compile(f"def {function}(): pass", path, "exec").co_consts[0]
    return (code, 1, {"__name__": module} if module else {}, None)


def test_culprit():
    library = raw("/x/lib/python3.11/site-packages/lib/api.py", "request", "lib.api")
    mine, outer = raw("/app/views.py", "index", "app.views"), raw("/app/main.py", "main", "__main__")
    assert Stacks(settings()).culprit([library, mine, outer]) == "app.views.index"
    assert Stacks(settings()).culprit([library]) == "lib.api.request"
    assert Stacks(settings()).culprit([raw("/app/x.py", "work", None)]) == "/app/x.py.work"
    assert Stacks(settings()).culprit([raw("<string>", "work", None)]) == "<string>.work"
    assert Stacks(settings()).culprit([]) is None


@pytest.mark.parametrize(
    ("path", "module", "expected"),
    [
        ("/app/pkg/sub/mod.py", "pkg.sub.mod", "pkg/sub/mod.py"),
        ("/app/pkg/sub/__init__.py", "pkg.sub", "pkg/sub/__init__.py"),
        ("/app/mod.py", "mod", "mod.py"),
        ("/app/script.py", "__main__", "script.py"),
        ("/app/script.py", None, "script.py"),
        ("/app/script.py", 5, "script.py"),
        ("short.py", "much.longer.than.that", "short.py"),
        ("", "mod", ""),
    ],
)
def test_file_name_below_its_package(path, module, expected):
    code = compile("def work(): pass", path, "exec").co_consts[0]
    (frame,) = render([(code, 1, {"__name__": module}, None)], 0, 0)
    assert frame["filename"] == expected
    assert ("module" in frame) == isinstance(module, str)


def test_library_frames_have_their_own_number_of_lines():
    (frame,) = render([(linecache.getline.__code__, 20, vars(linecache), None)], 0, 3)
    assert frame["library_frame"] is True
    assert len(frame["pre_context"]) == len(frame["post_context"]) == 1


def test_a_line_that_is_not_known():
    (frame,) = render([(raw("/app/x.py")[0], None, {}, None)], 5, 5)
    assert frame["lineno"] is None
    assert "context_line" not in frame


def test_an_interpreter_whose_os_has_no_file():
    code = (
        "import os, sys; del os.__file__; sys.path.insert(0, sys.argv[1]);"
        "from apm_run.tracer import paths; print(paths.in_app('/app/x.py', 'x'))"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(stack.__file__)))
    done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True\n"


def test_rendering_many_frames_takes_little_time():
    frames = frames_of(lambda: importlib.import_module("no_such_module_at_all"))
    started = time.perf_counter()
    assert len(render(frames * 1000, 5, 5)) >= 1000
    assert time.perf_counter() - started < 2
