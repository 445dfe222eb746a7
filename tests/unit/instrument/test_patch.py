"""Where wrapped functions are put, and what the table says of what could not be."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import sys
import threading
import traceback
import types

import pytest
from tests.engine import Engine, work_span

from apm_run import guard
from apm_run.conventions import wsgi
from apm_run.instrument.patch import instrument
from apm_run.instrument.vocabulary import (
    Annotate,
    Carry,
    Claim,
    Exchange,
    Greenlet,
    Instrumentation,
    Learn,
    Serve,
    Subscribe,
    Target,
)
from apm_run.tracer import current


@pytest.fixture
def lenient(monkeypatch):
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(guard, "failures", {})
    return guard.failures


@pytest.fixture
def engine():
    yield Engine()
    assert current.get() is None


class Base:
    def inherited(self, value):
        return self, value

    @classmethod
    def inherited_class(cls, value):
        return cls, value

    @staticmethod
    def inherited_static(value):
        return value


class Library(Base):
    def method(self, value):
        return self, value

    @classmethod
    def class_method(cls, value):
        return cls, value

    @staticmethod
    def static_method(value):
        return value

    @property
    def prop(self):
        return 1

    class Inner:
        def deep(self):
            return 1


def library(**attributes):
    """A module that has just been imported."""
    module = types.ModuleType("library")
    kind = type("Library", (Library,), {"__module__": "library", **vars(Library)})
    module.__dict__.update(Library=kind, work=lambda value=None: value, number=5, **attributes)
    return module


def apply(engine, module, *targets):
    results: dict[str, str] = {}
    instrument(Instrumentation("library", "", targets), module, engine.tracer, results)
    return results


def test_a_function(engine):
    module = library()
    original = module.work
    assert apply(engine, module, Target("library:work", work_span)) == {"library:work": "wrapped"}
    with engine.transaction() as transaction:
        assert module.work(5) == 5
    assert engine.one_span(transaction).draft.name == "work"
    assert module.work.__wrapped__ is original


@pytest.mark.parametrize("name", ["method", "class_method", "static_method"])
@pytest.mark.parametrize("prefix", ["", "inherited"])
def test_methods_stay_what_they_are(engine, name, prefix):
    module = library()
    if prefix:
        name = {"method": "inherited", "class_method": "inherited_class", "static_method": "inherited_static"}[name]
    bare = Library if not prefix else Base
    before = vars(bare)[name]
    assert apply(engine, module, Target(f"library:Library.{name}", work_span)) == {f"library:Library.{name}": "wrapped"}
    assert vars(bare)[name] is before
    assert type(vars(module.Library)[name]) is type(before)
    instance = module.Library()
    with engine.transaction() as transaction:
        found = [getattr(instance, name)(1)]
        if name not in ("method", "inherited"):
            found.append(getattr(module.Library, name)(1))
    expected = {"m": (instance, 1), "c": (module.Library, 1), "s": 1}[
        "s" if "static" in name else "c" if "class" in name else "m"
    ]
    assert found == [expected] * len(found)
    assert len(engine.sink.spans(transaction)) == len(found)


def test_a_bound_method_of_a_module_level_object(engine):
    instance = Library()
    module = library(client=instance)
    assert apply(engine, module, Target("library:client.method", work_span)) == {"library:client.method": "wrapped"}
    with engine.transaction() as transaction:
        assert module.client.method(1) == (instance, 1)
    assert engine.one_span(transaction)
    assert Library().method.__func__ is Library.method


def test_deep_paths(engine):
    module = library()
    inner = type("Inner", (), {"deep": lambda self: 1})
    module.Library.Inner = inner
    assert apply(engine, module, Target("library:Library.Inner.deep", work_span)) == {
        "library:Library.Inner.deep": "wrapped"
    }
    with engine.transaction() as transaction:
        assert inner().deep() == 1
    assert engine.one_span(transaction)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("library:nothing", "no nothing"),
        ("library:Nothing.method", "no Nothing.method"),
        ("library:Library.nothing", "no Library.nothing"),
        ("library:Library.a.b.c", "no Library.a.b.c"),
        ("library:number", "number is no function"),
        ("library:Library.prop", "Library.prop is no function"),
        ("library:Library", "Library is no function"),
        ("library:Library.Inner", "Library.Inner is no function"),
    ],
)
def test_what_is_not_there_skips_one_target(engine, path, why):
    module = library()
    results = apply(engine, module, Target(path, work_span), Target("library:work", work_span))
    assert results == {path: f"skipped: {why}", "library:work": "wrapped"}


def test_other_modules_targets_are_left_for_them(engine):
    assert apply(engine, library(), Target("other:work", work_span)) == {}


def test_what_can_not_be_set_fails_alone(engine, lenient):
    module = library(Number=int)
    results = apply(engine, module, Target("library:Number.bit_length", work_span), Target("library:work", work_span))
    assert results["library:Number.bit_length"].startswith("failed: TypeError: ")
    assert results["library:work"] == "wrapped"
    assert list(lenient) == ["instrument library:Number.bit_length"]


def test_reload_wraps_the_new_function(engine):
    module = library()
    target = Target("library:work", work_span)
    apply(engine, module, target)
    module.work = lambda value=None: ("new", value)
    apply(engine, module, target)
    with engine.transaction() as transaction:
        assert module.work(1) == ("new", 1)
    assert engine.one_span(transaction)


class Annotated:
    def plain(self, value):
        if value is None:
            raise ValueError("plain")
        return value

    async def coroutine(self, value):
        if value is None:
            raise ValueError("coroutine")
        return value

    def generator(self, value):
        if value is None:
            raise ValueError("generator")
        yield value

    async def async_generator(self, value):
        yield value


def run(function, *args):
    result = function(*args)
    if inspect.iscoroutine(result):
        return asyncio.run(result)
    return list(result) if inspect.isgenerator(result) else result


@pytest.mark.parametrize("kind", ["annotate", "claim"])
@pytest.mark.parametrize("name", ["plain", "coroutine", "generator"])
def test_annotate_and_claim_keep_the_kind(engine, name, kind):
    module = library(Annotated=type("Annotated", (Annotated,), dict(vars(Annotated))))
    original = getattr(Annotated, name)
    path = f"library:Annotated.{name}"
    target = Claim(path) if kind == "claim" else Annotate(path, lambda call, found: found.set_name(call.args[1]))
    assert apply(engine, module, target) == {path: "wrapped"}
    wrapper = getattr(module.Annotated, name)
    for predicate in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isfunction):
        assert predicate(wrapper) is predicate(original)
    assert inspect.signature(wrapper) == inspect.signature(original)
    engine.tracer.begin_ambient("program", 1, 1, None)
    expected = run(original, module.Annotated(), "named")
    assert run(wrapper, module.Annotated(), "named") == expected
    assert (engine.tracer.ambient is None) == (kind == "claim")
    with engine.transaction() as transaction:
        assert run(wrapper, module.Annotated(), "named") == expected
        with pytest.raises(ValueError, match=name) as caught:
            run(module.Annotated().__getattribute__(name), None)
    assert transaction.name == ("test" if kind == "claim" else None)
    names = [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert names[-1] == name


@pytest.mark.parametrize("name", ["generator", "async_generator"])
def test_annotate_after_a_generator_is_not_possible(engine, name):
    path = f"library:Annotated.{name}"
    target = Annotate(path, print, after=True)
    assert apply(engine, library(Annotated=Annotated), target) == {path: "skipped: a generator function"}


@pytest.mark.parametrize("after", [False, True])
def test_annotate_the_program(engine, after):
    module = library()
    target = Annotate("library:work", lambda call, found, *_: found.set_name("named"), program=True, after=after)
    apply(engine, module, target)
    assert module.work(1) == 1
    engine.tracer.begin_ambient("program", 1, 1, None)
    with engine.transaction() as transaction:
        assert module.work(1) == 1
    assert (engine.tracer.ambient.name, transaction.name) == ("named", "test")


def test_annotate_without_a_transaction_is_not_asked(engine):
    module = library()
    apply(engine, module, Annotate("library:work", lambda *_: pytest.fail("asked")))
    assert module.work(1) == 1


def test_annotate_a_function_in_c(engine):
    module = library(count=len)
    apply(engine, module, Annotate("library:count", lambda call, found: found.set_name(repr(call.args))))
    with engine.transaction() as transaction:
        assert module.count([1, 2]) == 2
    assert transaction.name == "([1, 2],)"


def test_annotate_not_an_asynchronous_generator(engine):
    path = "library:Annotated.async_generator"
    assert apply(engine, library(Annotated=Annotated), Annotate(path, print)) == {
        path: "skipped: an asynchronous generator function"
    }


@pytest.mark.parametrize("name", ["plain", "coroutine"])
def test_annotate_after_the_call_has_its_result(engine, name):
    module = library(Annotated=type("Annotated", (Annotated,), dict(vars(Annotated))))
    original, path = getattr(Annotated, name), f"library:Annotated.{name}"
    told = []
    target = Annotate(path, lambda call, found, result: told.append((call.args[1], found.name, result)), after=True)
    assert apply(engine, module, target) == {path: "wrapped"}
    wrapper = getattr(module.Annotated, name)
    assert inspect.iscoroutinefunction(wrapper) is inspect.iscoroutinefunction(original)
    assert inspect.signature(wrapper) == inspect.signature(original)
    expected = run(original, module.Annotated(), "argument")
    assert run(wrapper, module.Annotated(), "argument") == expected
    assert told == []  # there is nobody to tell it of
    with engine.transaction():
        assert run(wrapper, module.Annotated(), "argument") == expected
        with pytest.raises(ValueError, match=name) as caught:
            run(wrapper, module.Annotated(), None)
    assert told == [("argument", "test", expected)]
    frames = traceback.extract_tb(caught.tb)
    assert sys.version_info < (3, 11) or not [
        frame for frame in frames if "instrument/patch.py" in frame.filename and "tests" not in frame.filename
    ]


def test_annotate_after_that_fails_is_a_fault(engine, lenient):
    module = library()
    apply(engine, module, Annotate("library:work", lambda *_: 1 / 0, after=True))
    with engine.transaction():
        assert module.work(1) == 1
    assert list(lenient) == ["library:work: annotate"]


class Signal:
    def __init__(self):
        self.receivers = []

    def connect(self, receiver, weak=True):
        assert weak is False
        self.receivers.append(receiver)

    def send(self, *args, **kwargs):
        return [receiver(*args, **kwargs) for receiver in self.receivers]


def test_subscribe(engine, lenient):
    module = library(signal=Signal())
    heard = []

    def handler(transaction, sender, **facts):
        heard.append((transaction, sender, facts))
        if sender == "bad":
            raise ValueError

    assert apply(engine, module, Subscribe("library:signal", handler)) == {"library:signal": "wrapped"}
    assert module.signal.send("nobody") == [None]
    with engine.transaction() as transaction:
        assert module.signal.send("good", error=1) == [None]
        assert module.signal.send("bad") == [None]
    assert heard == [(transaction, "good", {"error": 1}), (transaction, "bad", {})]
    assert list(lenient) == ["library:signal: handler"]


def test_subscribe_to_a_stand_in(engine):
    class FakeSignal:
        def connect(self, *args, **kwargs):
            raise RuntimeError("blinker is not installed")

    module = library(signal=FakeSignal())
    assert apply(engine, module, Subscribe("library:signal", print)) == {
        "library:signal": "skipped: blinker is not installed"
    }


def test_carry(engine):
    def submit(work, *args, **kwargs):
        found = []
        thread = threading.Thread(target=lambda: found.append((current.get(), work(*args, **kwargs), current.get())))
        thread.start()
        thread.join()
        return (current.get(), *found)

    module = library(submit=submit)
    assert apply(engine, module, Carry("library:submit", 0)) == {"library:submit": "wrapped"}
    work = lambda *args, **kwargs: (current.get(), args, kwargs)  # noqa: E731
    assert module.submit(work, 1, two=2) == (None, (None, (None, (1,), {"two": 2}), None))
    with engine.transaction() as transaction:
        # While it is handed over nothing is current: a thread that starts then outlives the work.
        assert module.submit(work, 1, two=2) == (None, (None, (transaction, (1,), {"two": 2}), None))
        with pytest.raises(TypeError):
            module.submit()


def test_carry_hands_exceptions_on(engine):
    def submit(work):
        return work()

    def fail():
        raise ValueError("mine")

    module = library(submit=submit)
    apply(engine, module, Carry("library:submit", 0))
    with engine.transaction(), pytest.raises(ValueError, match="mine") as caught:
        module.submit(fail)
    assert [frame.name for frame in traceback.extract_tb(caught.tb)][-1] == "fail"


def test_carried_work_is_known_by_what_it_is_bound_to(engine):
    seen = []
    module = library(submit=lambda work: seen.append((work.__module__, getattr(work, "__self__", None))))
    apply(engine, module, Carry("library:submit", 0))
    thread = threading.Thread()
    with engine.transaction():
        module.submit(thread.run)
        module.submit(test_carry)
    assert seen == [("threading", thread), (__name__, None)]


def test_greenlets(engine):
    greenlet = pytest.importorskip("greenlet", reason="greenlet is not installed")
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    told = []
    module = library(spawn=lambda work: greenlet.greenlet(work), add_callback=told.append)
    for target in (Greenlet("library:spawn"), Greenlet("library:add_callback", hook=True)):
        assert apply(engine, module, target) == {target.path: "wrapped"}

    def work():
        return current.get(), variable.get()

    outside = module.spawn(work)
    with engine.transaction() as transaction:
        inside, met, copied = module.spawn(work), greenlet.greenlet(work), greenlet.greenlet(work)
        copied.gr_context = contextvars.copy_context()
        for made in (inside, met, copied):
            told[0](made)
        with pytest.raises(TypeError):
            module.spawn()
    assert outside.switch() == (None, "unset")
    assert inside.switch() == met.switch() == (transaction, "unset")
    assert copied.switch() == (transaction, "set")  # the program's own doing stays


class Protocol:
    """A server protocol that only notes who calls."""

    @staticmethod
    def method(tracer, original, framework):
        def wrapper(*args):
            return framework, original(*args)

        return wrapper

    @staticmethod
    def application(tracer, app, framework):
        if app == "bad":
            raise ValueError("bad")
        return framework, app


class Server:
    def __init__(self, app=None):
        self.app = app

    def load(self, fail=False):
        if fail:
            raise LookupError("load")
        self.loaded = self.app
        return self.loaded

    def serve(self, app):
        return app

    async def aserve(self, app):
        return app


@pytest.fixture
def served():
    return library(Server=type("Server", (Server,), dict(vars(Server))))


def test_serve_the_call_itself(engine, served):
    assert apply(engine, served, Serve("library:Server.serve", Protocol, framework="name")) == {
        "library:Server.serve": "wrapped"
    }
    assert served.Server().serve("app") == ("name", "app")
    assert served.Server.serve.__name__ == "serve"


@pytest.mark.parametrize("keyword", [True, False])
def test_serve_an_argument(engine, served, keyword):
    engine.tracer.begin_ambient("program", 1, 1, None)
    apply(engine, served, Serve("library:Server.serve", Protocol, argument=(1, "app")))
    server = served.Server()
    assert (server.serve(app="app") if keyword else server.serve("app")) == (None, "app")
    assert engine.tracer.ambient is None
    assert server.serve(None) is None
    with pytest.raises(TypeError):
        server.serve()


def test_serve_an_attribute(engine, served):
    apply(engine, served, Serve("library:Server.load", Protocol, attribute="loaded"))
    server = served.Server("app")
    assert server.load() == "app"
    assert server.loaded == (None, "app")
    with pytest.raises(LookupError, match="load"):
        server.load(fail=True)


def test_serve_an_attribute_that_is_not_there(engine, served, lenient):
    apply(engine, served, Serve("library:Server.load", Protocol, attribute="other"))
    assert served.Server("app").load() == "app"
    assert list(lenient) == ["library:Server.load: other"]


def test_serve_a_result(engine, served):
    apply(engine, served, Serve("library:Server.load", Protocol, result=True))
    assert served.Server("app").load() == (None, "app")


def test_serve_an_application_that_can_not_be_served(engine, served, lenient):
    apply(engine, served, Serve("library:Server.load", Protocol, result=True))
    assert served.Server("bad").load() == "bad"
    assert list(lenient) == ["library:Server.load: application"]


def test_serve_plain_functions_only(engine, served):
    assert apply(engine, served, Serve("library:Server.aserve", Protocol, result=True)) == {
        "library:Server.aserve": "skipped: no plain function"
    }


@pytest.mark.parametrize("missing", ["inject", "finish", "abandon", "path"])
def test_exchange_is_all_or_nothing(engine, missing):
    names = {"path": "begin", "inject": "inject", "finish": "finish", "abandon": "abandon"}
    methods = {name: lambda self: 1 for role, name in names.items() if role != missing}
    connection = type("Connection", (), dict(methods))
    path = f"library:Connection.{names.pop('path')}"
    results = apply(engine, library(Connection=connection), Exchange(path, work_span, **names))
    assert results[path].startswith("skipped: no ")
    assert {name: vars(connection)[name] for name in methods} == methods


# Applications that are looked up in a module


def application(environ, start_response, *, extra=None):
    """It answers."""
    assert current.get() is not None
    return [start_response("200 OK", [])]


class Application:
    def __call__(self, environ, start_response):
        return application(environ, start_response)


def asked(app):
    return app({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: b"started")


def test_an_application_that_is_a_function(engine):
    application.setting = 5
    module = library(application=application)
    assert apply(engine, module, Serve("library:application", wsgi, itself=True)) == {"library:application": "wrapped"}
    served = module.application
    assert inspect.isfunction(served)
    assert (served.__name__, served.__doc__, served.setting) == ("application", "It answers.", 5)
    assert inspect.signature(served) == inspect.signature(application)
    assert len(asked(served)) == 1
    assert len(engine.sink.transactions) == 1


def test_an_application_that_is_an_instance(engine):
    kind = type("Application", (Application,), {})
    app = kind()
    module = library(application=app)
    assert apply(engine, module, Serve("library:application", wsgi, itself=True)) == {"library:application": "wrapped"}
    assert module.application is app
    assert type(app) is kind
    asked(app)
    assert len(engine.sink.transactions) == 1
    assert not hasattr(Application.__call__, "__wrapped__")


def test_an_application_of_a_type_in_c(engine):
    partial = functools.partial(application, extra=1)
    module = library(application=partial)
    assert apply(engine, module, Serve("library:application", wsgi, itself=True)) == {"library:application": "wrapped"}
    assert module.application.keywords == {"extra": 1}
    asked(module.application)
    assert len(engine.sink.transactions) == 1


@pytest.mark.parametrize(("there", "why"), [({}, "no application"), ({"application": Application}, "a class")])
def test_what_is_no_application_to_be_patched(engine, there, why):
    module = library(**there)
    (result,) = apply(engine, module, Serve("library:application", wsgi, itself=True)).values()
    assert result.startswith("skipped: ")
    assert why in result


@pytest.mark.skipif(sys.version_info < (3, 11), reason="older ones keep the traceback apart from the exception")
def test_what_such_an_application_raises_is_as_bare(engine):
    def failing(environ, start_response):
        raise ValueError

    module = library(application=failing)
    apply(engine, module, Serve("library:application", wsgi, itself=True))
    with pytest.raises(ValueError) as caught:
        asked(module.application)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[1:] == ["asked", "failing"]


def test_what_a_server_tells_of_its_applications(engine):
    further = Serve("other:application", wsgi, itself=True)
    module = library(options={"module": b"other"})
    results: dict[str, str] = {}
    target = Learn("library:options", lambda options: (further,) if options == {"module": b"other"} else ())
    learned = instrument(Instrumentation("library", "", (target,)), module, engine.tracer, results)
    assert learned == [further]
    assert results == {"library:options": "wrapped"}
    assert Instrumentation("library", "", (target,)).extended(learned).triggers() == {"library", "other"}


def test_applications_that_a_server_shows_before_each_request(engine):
    subscribers = []
    module = library(subscribe=subscribers.append)
    target = Serve("library:subscribe", wsgi, event=("request_started", "application_object"))
    assert apply(engine, module, target) == {"library:subscribe": "wrapped"}
    (subscriber,) = subscribers
    assert subscriber("request_finished", application_object=application) is None
    assert subscriber("request_started", request_id=1) is None
    asked(subscriber("request_started", application_object=application, request_id=1)["application_object"])
    assert len(engine.sink.transactions) == 1
