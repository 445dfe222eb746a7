"""A wrapped function is to its program what it was: its kind, its names, its traceback, its place in a pickle."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import linecache
import logging
import pickle
import sys
import traceback
import types
import typing
import warnings

import pytest
from tests.engine import Engine

from apm_run.instrument import wrap

frames_hidden = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="before Python 3.11 a traceback on its way can not be changed"
)


def plain(first: int, second: str = "two", *rest: int, key: bool = False, **others: str) -> list[str]:
    """What it does."""
    if first < 0:
        raise ValueError(first)
    return [second, str(key)]


async def coroutine(first: int, second: str = "two") -> int:
    """What it does."""
    if first < 0:
        raise ValueError(first)
    return first


def generator(first: int, second: str = "two"):
    """What it does."""
    if first < 0:
        raise ValueError(first)
    yield first


async def async_generator(first: int, second: str = "two"):
    """What it does."""
    if first < 0:
        raise ValueError(first)
    yield first


@types.coroutine
def awaitable_generator(first: int, second: str = "two"):
    """What it does."""
    if first < 0:
        raise ValueError(first)
    yield from asyncio.sleep(0).__await__()
    return first


ORIGINALS = {f.__name__: f for f in (plain, coroutine, generator, async_generator, awaitable_generator)}
ORIGINALS["plain"].attribute = ["of the program"]


@pytest.fixture(params=ORIGINALS)
def pair(request, monkeypatch):
    """A function and its wrapper, which stands in its place in this module."""
    original = ORIGINALS[request.param]
    wrapper = Engine().wrap(original)
    monkeypatch.setitem(globals(), request.param, wrapper)
    return original, wrapper


def test_names_and_attributes(pair):
    original, wrapper = pair
    for name in ("__module__", "__name__", "__qualname__", "__doc__", "__defaults__", "__kwdefaults__"):
        assert getattr(wrapper, name) == getattr(original, name), name
    assert wrapper.__annotations__ == original.__annotations__
    assert wrapper.__wrapped__ is original
    assert {**wrapper.__dict__, "__wrapped__": None} == {**original.__dict__, "__wrapped__": None}
    assert repr(wrapper)[: repr(wrapper).index(" at ")] == repr(original)[: repr(original).index(" at ")]
    assert type(wrapper) is types.FunctionType


def test_what_is_seen_of_it(pair):
    original, wrapper = pair
    assert inspect.signature(wrapper) == inspect.signature(original)
    assert typing.get_type_hints(wrapper) == typing.get_type_hints(original)
    assert inspect.getsource(wrapper) == inspect.getsource(original)
    for predicate in (
        inspect.isfunction,
        inspect.isroutine,
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        callable,
    ):
        assert predicate(wrapper) is predicate(original), predicate


def test_pickle_and_copy_by_name(pair):
    _, wrapper = pair
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(wrapper, protocol)) is wrapper
    assert copy.copy(wrapper) is wrapper
    assert copy.deepcopy(wrapper) is wrapper


def test_the_wrapper_can_be_wrapped(pair):
    original, wrapper = pair

    @functools.wraps(wrapper)
    def decorated(*args, **kwargs):
        return wrapper(*args, **kwargs)

    assert inspect.signature(decorated) == inspect.signature(original)
    assert inspect.unwrap(decorated) is original


def use(function, *args):
    """Call a function of any kind to its end."""
    if function.__name__ == "coroutine":
        return asyncio.run(function(*args))
    if function.__name__ == "awaitable_generator":

        async def main():
            return await function(*args)

        return asyncio.run(main())
    if function.__name__ == "async_generator":

        async def collect():
            return [item async for item in function(*args)]

        return asyncio.run(collect())
    result = function(*args)
    return list(result) if function.__name__ == "generator" else result


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("args", [(1,), (-1,), (), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("name", ORIGINALS)
def test_same_result_or_same_exception(name, args, inside):
    engine = Engine()
    original = ORIGINALS[name]
    wrapper = engine.wrap(original)

    def outcome(function):
        try:
            return use(function, *args)
        except Exception as error:
            return type(error), error.args

    expected = outcome(original)
    if inside:
        with engine.transaction() as transaction:
            assert outcome(wrapper) == expected
        assert engine.one_span(transaction).outcome == ("failure" if isinstance(expected, tuple) else "success")
    else:
        assert outcome(wrapper) == expected


@frames_hidden
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("name", ORIGINALS)
def test_traceback_as_bare(name, inside):
    engine = Engine()
    original = ORIGINALS[name]
    wrapper = engine.wrap(original)

    def text(function):
        with pytest.raises(ValueError) as caught:
            use(function, -1)
        lines = traceback.format_exception(caught.type, caught.value, caught.tb)
        return [line for line in lines if "asyncio" not in line]

    if inside:
        with engine.transaction():
            assert text(wrapper) == text(original)
    else:
        assert text(wrapper) == text(original)


@frames_hidden
def test_traceback_of_a_function_in_c():
    engine = Engine()
    wrapper = engine.wrap(int)

    def names(function):
        with pytest.raises(ValueError) as caught:
            function("no number")
        return [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]

    assert names(wrapper) == names(int)
    with engine.transaction():
        assert names(wrapper) == names(int)


@pytest.mark.parametrize("inside", [True, False])
def test_exception_object_is_the_same(inside):
    engine = Engine()
    error = LookupError("mine")
    cause = error.__cause__ = KeyError("cause")

    def fail():
        raise error

    wrapper = engine.wrap(fail)

    def check():
        with pytest.raises(LookupError) as caught:
            wrapper()
        assert caught.value is error
        assert error.__cause__ is cause
        assert error.__context__ is None

    if inside:
        with engine.transaction():
            check()
    else:
        check()


def test_functions_in_c_keep_their_signature():
    wrapper = Engine().wrap(len)
    assert wrapper([1, 2]) == 2
    assert str(inspect.signature(wrapper)) == str(inspect.signature(len))
    assert wrapper.__name__ == "len"
    assert wrapper.__module__ == "builtins"
    assert wrapper.__doc__ == len.__doc__


def test_any_callable_can_be_wrapped():
    class Callable:
        __name__ = 5  # what is no string is no name

        def __init__(self):
            self.attribute = 1

        def __call__(self, value):
            return value

    wrapper = Engine().wrap(Callable())
    assert wrapper("value") == "value"
    assert wrapper.attribute == 1
    assert wrapper.__name__ == "wrapper"
    assert Engine().wrap(functools.partial(divmod, 7))(2) == (3, 1)


def test_arguments_are_not_touched():
    engine = Engine()
    seen = []
    wrapper = engine.wrap(lambda *args, **kwargs: seen.append((args, kwargs)))
    unhashable: list = []
    for inside in (True, False):
        with engine.transaction() if inside else engine.transaction("other"):
            wrapper(1, unhashable, self=2, args=3, kwargs=4, call=5)
        (args, kwargs) = seen.pop()
        assert args[1] is unhashable
        assert (args, kwargs) == ((1, []), {"self": 2, "args": 3, "kwargs": 4, "call": 5})


def test_warnings_and_logs_name_the_caller():
    def warn():
        warnings.warn("of the caller", DeprecationWarning, stacklevel=2)
        logging.getLogger("test").warning("of the caller", stacklevel=2)

    engine = Engine()
    wrapper = engine.wrap(warn)
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logging.getLogger("test").addHandler(handler)
    try:
        for function in (warn, wrapper):
            with engine.transaction(), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                function()
            assert [warning.filename for warning in caught] == [__file__]
            assert "function()" in linecache.getline(caught[0].filename, caught[0].lineno)
        # Python 3.9 and 3.10 count frames of any file for logging.
        expected = {__file__} if sys.version_info >= (3, 11) else {__file__, records[1].pathname}
        assert {record.pathname for record in records} == expected
    finally:
        logging.getLogger("test").removeHandler(handler)


def test_hide_frame_of_what_was_never_raised():
    error = ValueError()
    wrap.hide_frame(error)
    assert error.__traceback__ is None
