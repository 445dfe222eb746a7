"""How a server of ``grpc.aio`` calls the program's handlers, traced.

The server is written in C; what it lets others say about the handler of a call is an interceptor. Ours is the
outermost, so that the program's see what they would, and what they put around a handler belongs to the transaction.
"""

from __future__ import annotations

from apm_run.conventions import grpc
from apm_run.guard import failed
from apm_run.instrument import wrap
from apm_run.instrument.vocabulary import Target
from apm_run.model import SUCCESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from functools import partial
    from typing import Any

    from apm_run.model import Call, TransactionDraft
    from apm_run.tracer import Tracer
else:
    from _functools import partial

_WHERE = "grpc.aio: handler"
#: Handlers that are remembered; a proxy may answer to any name.
_HANDLERS = 1000
#: Raised in a handler where the call is over already: its client has gone, or the server stops.
_GONE = ("ExecuteBatchError", "_ServerStoppedError")


def method(tracer: Tracer, original: Any, framework: str | None) -> Any:
    """No function of the library's is a call of the application."""
    raise NotImplementedError


def application(tracer: Tracer, app: Any, framework: str | None) -> Any:
    """The interceptors of a server, ours before them.

    :param app: the program's.
    """
    return (_interceptor(tracer), *app) if isinstance(app, (tuple, list)) else app


def _interceptor(tracer: Tracer) -> Any:
    from grpc.aio import ServerInterceptor

    known: dict[str, tuple[Any, Any]] = {}

    async def intercept_service(self: Any, continuation: Any, handler_call_details: Any) -> Any:
        try:
            handler = await continuation(handler_call_details)
        except BaseException as error:
            wrap.hide_frame(error)
            raise
        try:
            return _traced(tracer, handler, handler_call_details.method, known)
        except Exception:
            failed(_WHERE)
            return handler

    return type("Interceptor", (ServerInterceptor,), {"intercept_service": intercept_service})()


def _traced(tracer: Tracer, handler: Any, name: str, known: dict[str, tuple[Any, Any]]) -> Any:
    """A handler whose call is a transaction; the same where it cannot be told when that ends."""
    if handler is None or not tracer.active:
        return handler
    found = known.get(name)
    if found is None or found[0] is not handler:
        if len(known) >= _HANDLERS:
            known.clear()
        found = known[name] = handler, _replaced(tracer, handler, name)
    return found[1]


def _replaced(tracer: Tracer, handler: Any, name: str) -> Any:
    import grpc as library

    asked, answered = (
        "stream" if each else "unary" for each in (handler.request_streaming, handler.response_streaming)
    )
    behavior = getattr(handler, f"{asked}_{answered}")
    if not _understood(behavior, bool(handler.response_streaming)):
        return handler
    interceptor = wrap.Interceptor(Target(_WHERE, partial(_request, name), observe=_answer, entry=True), tracer, _WHERE)
    make: Callable[..., Any] = getattr(library, f"{asked}_{answered}_rpc_method_handler")
    return make(wrap.function(behavior, interceptor), handler.request_deserializer, handler.response_serializer)


def _understood(behavior: Any, streaming: bool) -> bool:
    """Whether a handler is of the kind that the server takes it for; one that returns an iterator is none of ours."""
    from inspect import isasyncgenfunction, iscoroutinefunction

    kind = wrap.kind(behavior)
    if iscoroutinefunction(behavior):
        return kind == wrap.COROUTINE
    if isasyncgenfunction(behavior):
        return streaming and kind == wrap.ASYNC_GENERATOR
    return kind == (wrap.GENERATOR if streaming else 0)


def _request(name: str, call: Call) -> TransactionDraft:
    """The transaction of a handler's call; where it does not come to its end, it was cancelled."""
    draft = grpc.request(name, call.args[1].invocation_metadata())
    draft.result, draft.outcome = grpc.CANCELLED, SUCCESS
    return draft


def _answer(call: Call, result: object, draft: TransactionDraft) -> None:
    """What the server answers after a handler has returned or raised."""
    if not isinstance(result, Exception):
        grpc.answer(draft, grpc.status(_code(call.args[1])))
        return
    kind = type(result).__name__
    if kind in _GONE:
        draft.unhandled = False
        return
    name = grpc.status(_code(call.args[1]))
    grpc.answer(draft, grpc.UNKNOWN if name == grpc.OK else name)
    draft.unhandled = kind != "AbortError"


def _code(context: Any) -> Any:
    """The status code that was set; a context for functions that are not asynchronous only holds one that knows it."""
    if hasattr(context, "code"):
        return context.code()
    from gc import get_referents

    return next((held.code() for held in get_referents(context) if hasattr(held, "code")), None)
