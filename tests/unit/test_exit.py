"""What stands for ``sys.exit`` answers every question as the built-in function does; Ctrl-C ends as it does bare."""

from __future__ import annotations

import pytest
from tests.launch.support import INTERPRETERS
from tests.launch.support import traced as supported
from tests.traced import bare, traced

QUESTIONS = """
import copy, inspect, pickle, pydoc, sys, types
class Holder:
    leave = sys.exit
def told(call):
    try:
        call()
    except BaseException as error:
        return repr(error)
print(repr(sys.exit), sys.exit.__class__, isinstance(sys.exit, types.FunctionType), sys.exit.__self__ is sys)
print(inspect.isbuiltin(sys.exit), inspect.isroutine(sys.exit), inspect.signature(sys.exit), dir(sys.exit))
print(sys.exit.__name__, sys.exit.__qualname__, sys.exit.__module__, sys.exit.__doc__, sys.exit == sys.exit)
print(pickle.dumps(sys.exit), pickle._dumps(sys.exit), copy.deepcopy(sys.exit) is sys.exit)
print(pydoc.plain(pydoc.render_doc(sys.exit)))
for call in (lambda: sys.exit(1, 2), lambda: sys.exit(status=2), lambda: sys.exit([]), sys.exit, Holder().leave):
    print(told(call))
"""


@pytest.mark.parametrize("status", ["", "0", "3", "'a message'"])
def test_exit_is_the_built_in_function_to_all_that_ask(status):
    program = f"{QUESTIONS}\nsys.exit({status})"
    expected, found = bare("python", "-c", program), traced("python", "-c", program)
    assert "<built-in function exit>" in expected.stdout
    assert (found.returncode, found.stdout) == (expected.returncode, expected.stdout)
    assert expected.stderr in found.stderr


@pytest.mark.parametrize("version", [version for version in INTERPRETERS if supported(version)])
def test_a_program_that_ctrl_c_ends_ends_by_the_signal(version, tmp_path):
    (tmp_path / "interrupted.py").write_text("raise KeyboardInterrupt")
    # A console shows the exception and goes on: the program then ends as it likes.
    console = "import code; code.interact(local={})"
    for words in (["-c", "raise KeyboardInterrupt"], ["interrupted.py"], ["-m", "interrupted"], ["-c", console]):
        expected = bare(INTERPRETERS[version], *words, cwd=tmp_path, input="raise KeyboardInterrupt\n")
        found = traced(INTERPRETERS[version], *words, cwd=tmp_path, input="raise KeyboardInterrupt\n")
        assert found.returncode == expected.returncode == (0 if console in words else -2)
        assert expected.stderr in found.stderr
