"""Servers and applications in the fault matrix: real protocols over a tracer that fails, and broken protocols."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

from tests.faults.case import Case, leaf
from tests.faults.program import Program, Theirs, fault, finished

from apm_run import guard
from apm_run.conventions import asgi, grpc_aio, native, wsgi
from apm_run.instrument.vocabulary import Serve


def serve_cases(target: Serve) -> Iterator[tuple[str, ...]]:
    mine = isinstance(target.protocol, native.Server)
    assert mine or target.protocol in (wsgi, asgi, grpc_aio), "a protocol that the matrix does not know"
    whole = _whole(target)
    kind = "plain" if target.protocol is wsgi else "coroutine"
    facts = ("incoming", "outgoing") if mine else ()
    making = "method" if whole else "application"
    for step in ("none", making, *facts, "begin_transaction", "end_transaction", "capture"):
        for raising in ("", "application"):
            yield step, kind, raising
    if target.attribute is not None:
        yield "attribute", kind, ""


def _whole(target: Serve) -> bool:
    """Whether the function itself is the application's call."""
    return not (target.argument or target.attribute or target.result or target.itself or target.event)


class Broken:
    """A protocol that can not be spoken."""

    method = application = staticmethod(fault)


ENVIRON = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/",
    "SERVER_NAME": "x",
    "SERVER_PORT": "80",
    "wsgi.url_scheme": "http",
}
INCOMING = native.Incoming("GET", "/", "/", [], scheme="http", version="1.1", peer=None)
SCOPE = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], "scheme": "http"}


class Served:
    """An application of either protocol, and a server that asks it once."""

    def __init__(self, program: Program, protocol: Any) -> None:
        self.program = program
        self.sent: list[Any] = []
        self.protocol = protocol
        self.request: Any = dict(ENVIRON if protocol is wsgi else SCOPE)

    def app(self) -> Any:
        """The application; as a method it is called with an instance before. Of gRPC it is the interceptors."""
        if self.protocol is grpc_aio:
            return (SimpleNamespace(),)

        def wsgi_app(*args: Any) -> Any:
            environ, start_response = args[-2:]
            self.program.act(environ)
            start_response("200 OK", [("Name", "value")])
            return [b"body"]

        async def asgi_app(*args: Any) -> None:
            scope, _, send = args[-3:]
            self.program.act(scope)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"body"})

        async def native_app(*args: Any) -> str:
            self.program.act(args[-1])
            return "answer"

        if isinstance(self.protocol, native.Server):
            return native_app
        return wsgi_app if self.protocol is wsgi else asgi_app

    def ask(self, app: Any) -> None:
        """As a server does; what it gets must be the application's."""

        def start_response(*args: Any) -> None:
            self.sent.append(args)

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message["type"])

        try:
            if self.protocol is grpc_aio:
                self.sent.append(self._call(app))
                expected: list[Any] = [self.program.result]
            elif self.protocol is wsgi:
                self.sent.append(list(app(self.request, start_response)))
                expected = [("200 OK", [("Name", "value")]), [b"body"]]
            elif isinstance(self.protocol, native.Server):
                self.sent.append(finished(app(self.request)))
                expected = ["answer"]
            else:
                assert finished(app(self.request, None, send)) is None
                expected = ["http.response.start", "http.response.body"]
            assert self.program.error is None, "the exception is lost"
        except Theirs as error:
            assert error is self.program.error, "another exception"  # noqa: PT017
            expected = []
        assert self.sent == expected, self.sent
        ((args, _),) = self.program.calls
        assert args[0] is self.request, "another request"

    def _call(self, interceptors: Any) -> Any:
        """What comes of a call, asked of the first of these interceptors, if that is ours, or else of its handler."""

        async def behavior(request: Any, context: Any) -> Any:
            return self.program.act(request, context)

        async def handler(details: Any) -> Any:
            return SimpleNamespace(
                request_streaming=False,
                response_streaming=False,
                request_deserializer=None,
                response_serializer=None,
                unary_unary=behavior,
            )

        details = SimpleNamespace(method="/package.Service/Method", invocation_metadata=())
        context = SimpleNamespace(invocation_metadata=tuple, code=lambda: None)
        ours = interceptors[0] if len(interceptors) > 1 else None
        found = finished(handler(details) if ours is None else ours.intercept_service(handler, details))
        return finished(found.unary_unary(self.request, context))


def check_serve(case: Case) -> None:
    program, engine, target = Program(case.kind, bool(case.raising)), case.engine(), case.target
    served = Served(program, target.protocol)
    same = {name: getattr(target, name) for name in ("argument", "attribute", "result", "itself", "event")}
    protocol = Broken if case.step in ("method", "application") else target.protocol
    if isinstance(protocol, native.Server):
        protocol = native.Server(
            fault if case.step == "incoming" else lambda call: INCOMING,
            fault if case.step == "outgoing" else lambda answer: native.Outgoing(200, []),
        )
    replaced = Serve(target.path, protocol, framework=target.framework, **same)
    app = served.app()

    def library(*args: Any) -> Any:
        if target.event is not None:
            subscribers.append(args[0])
        elif target.argument is not None:
            served.ask(args[target.argument[0]])
        elif target.attribute is not None and case.step != "attribute":
            setattr(args[0], target.attribute, app)
        return app

    subscribers: list[Any] = []
    whole = _whole(target) or target.itself
    expected = "failed: Ours: " if case.step == "method" else "wrapped"
    holder = case.stage(engine, replaced, expected, **{leaf(target): app if whole else library})
    function = getattr(holder, leaf(target))
    if whole:
        served.ask(function)
    elif target.event is not None:
        kind, item = target.event
        assert subscribers[0]("another", **{item: app}) is None
        served.ask((subscribers[0](kind, **{item: app}) or {item: app})[item])
    elif target.argument is not None:
        before = target.argument[0] - (not isinstance(holder, ModuleType))
        function(*range(before), app)
    else:
        result = function()
        served.ask(result if target.result or case.step == "attribute" else getattr(holder, target.attribute))
    begun = case.step not in ("method", "application", "attribute", "incoming", "begin_transaction")
    (inside,) = program.inside
    assert (inside is not None) == begun, inside
    if begun and case.step != "end_transaction":
        assert [transaction for transaction, _ in engine.sink.transactions] == [inside], "it is not closed"
    silent = {"capture": not case.raising, "outgoing": bool(case.raising)}
    expected_failures = case.step != "none" and not silent.get(case.step, False)
    assert bool(guard.failures) == expected_failures, guard.failures
