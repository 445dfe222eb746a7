"""grpcio: a span per call in every style, and a transaction per call that is answered, of both its stacks."""

from __future__ import annotations

from sys import exc_info

from apm_run.conventions import grpc, grpc_aio
from apm_run.instrument.vocabulary import (
    Annotate,
    Apart,
    Call,
    Claim,
    Instrumentation,
    Remember,
    Serve,
    SpanDraft,
    Target,
    TransactionDraft,
)
from apm_run.model import FAILURE, SUCCESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from apm_run.model import CurrentTransaction


def channel(call: Call) -> tuple[object, object, grpc.Endpoint]:
    """Where a channel leads. Its part in C, which calls know, tells it too, but crashes once it is closed."""
    made = call.instance
    return made._channel, getattr(made, "_call_state", made), grpc.endpoint(call.argument(1, "target"))


SYNC = Remember("grpc._channel:Channel.__init__", channel)
AIO = Remember("grpc.aio._channel:Channel.__init__", channel)


def asked(call: Call) -> SpanDraft:
    """The span of a call that a stub or another callable of a channel makes."""
    callable_ = call.instance
    return grpc.call(callable_._method, SYNC.of(callable_._channel))


def asked_aio(call: Call) -> SpanDraft:
    """The span of a call object, below the interceptors of the channel."""
    return grpc.call(call.argument(7, "method"), AIO.of(call.argument(6, "channel")))


def metadata(call: Call, add: Mapping[str, str]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The call with the trace context in its metadata."""
    found = grpc.with_metadata(call.argument(3, "metadata"), add)
    return None if found is None else call.replaced(3, "metadata", found)


def metadata_aio(call: Call, add: Mapping[str, str]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The same; without any, the call fails as it would."""
    return None if call.argument(3, "metadata") is None else metadata(call, add)


def returned(call: Call, result: Any, end: Any) -> None:
    """A call that blocks is over when it returns; another thread reads its requests, in the caller's context."""


def pending(call: Call, result: Any, end: Any) -> Any:
    """A future or an iterator of responses: its state, unless it is there already."""
    return result._state if result.add_callback(end) else None


def pending_aio(call: Call, result: Any, end: Any) -> Any:
    """A call object has a part in C that tells its end."""
    found = call.instance._cython_call
    found.add_done_callback(end)
    return found


def ended(call: Call, known: Any, draft: SpanDraft) -> None:
    """The outcome by the status; what was given up or forgotten is cancelled."""
    code = getattr(getattr(known, "_state", known), "code", None)
    draft.outcome = SUCCESS if grpc.status(code) == grpc.OK and code is not None else FAILURE


def ended_aio(call: Call, known: Any, draft: SpanDraft) -> None:
    """The same."""
    draft.outcome = SUCCESS if hasattr(known, "is_ok") and known.is_ok() else FAILURE


def request(call: Call) -> TransactionDraft:
    """The transaction of a call that a thread of the server's pool answers; a registered method is the event's tag."""
    event = call.args[0]
    return grpc.request(event.call_details.method or event.tag, event.invocation_metadata)


def answering(call: Call, result: object, end: Any) -> Any:
    """A handler that does not block goes on until the call ends; the health service has one."""
    state, behavior = call.args[1:3]
    if not getattr(behavior, "experimental_non_blocking", False) or state.callbacks is None:
        return None
    state.callbacks.append(end)
    return state


def answer(call: Call, result: Any, draft: TransactionDraft) -> None:
    """The status that was sent; :func:`broken_off` has seen what the handler did not say itself."""
    state = call.args[1] if call.args else result
    if state.client == "cancelled":
        grpc.answer(draft, grpc.CANCELLED)
    elif draft.result is None:
        grpc.answer(draft, grpc.OK if state.code is None else getattr(state.code, "name", grpc.UNKNOWN))


def broken_off(call: Call, transaction: CurrentTransaction) -> None:
    """The server sends a status instead of a response: the handler has raised, or its response is none."""
    state, error, draft = call.args[0], exc_info()[1], transaction.draft
    if state.client != "cancelled" and draft is not None:
        if error is not None and not state.aborted:
            transaction.capture(error, handled=False)
        if state.code is None:
            grpc.answer(draft, grpc.status(call.args[2]))


def _callables(name: str, *styles: str) -> tuple[str, ...]:
    return tuple(f"grpc._channel:_{name}MultiCallable.{style}" for style in styles)


BLOCKING, READING, PENDING = (
    _callables("UnaryUnary", "__call__", "with_call"),
    _callables("StreamUnary", "__call__", "with_call"),
    (
        *_callables("UnaryUnary", "future"),
        *_callables("StreamUnary", "future"),
        *_callables("UnaryStream", "__call__"),
        *_callables("SingleThreadedUnaryStream", "__call__"),
        *_callables("StreamStream", "__call__"),
    ),
)
CALLS = tuple(
    f"grpc.aio._call:{name}Call.__init__" for name in ("UnaryUnary", "UnaryStream", "StreamUnary", "StreamStream")
)

INSTRUMENTATION = Instrumentation(
    library="grpcio",
    versions="1.48 to 1.85",
    targets=(
        SYNC,
        AIO,
        *(Target(path, asked, rewrite=metadata) for path in BLOCKING),
        *(Target(path, asked, rewrite=metadata, until=returned) for path in READING),
        *(Target(path, asked, rewrite=metadata, until=pending, observe=ended) for path in PENDING),
        *(Target(path, asked_aio, rewrite=metadata_aio, until=pending_aio, observe=ended_aio) for path in CALLS),
        Apart("grpc._channel:_run_channel_spin_thread"),
        Apart("grpc._channel:_subscribe"),
        Apart("grpc._server:_Server.start"),
        Claim("grpc._server:_Server.start"),
        Target("grpc._server:_unary_response_in_pool", request, observe=answer, entry=True),
        Target("grpc._server:_stream_response_in_pool", request, observe=answer, entry=True, until=answering),
        Annotate("grpc._server:_abort", broken_off),
        Apart("grpc.aio._server:Server.start"),
        Serve("grpc.aio._server:Server.__init__", grpc_aio, argument=(3, "interceptors")),
    ),
)
