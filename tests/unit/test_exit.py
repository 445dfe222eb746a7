"""What stands for ``sys.exit`` answers every question as the built-in function does."""

from __future__ import annotations

import pytest
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
