"""The words that every floor shares: what a call is, what an instrumentation says of it, and the outcomes."""

from __future__ import annotations

from apm_run import sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Protocol

    class CurrentTransaction(Protocol):
        """What an instrumentation may do with the transaction that its call runs in."""

        id: str
        trace_id: str
        name: str
        kind: str
        sampled: bool
        route_prefix: str
        context: dict[str, Any]
        #: What the library that has begun it says of it.
        draft: TransactionDraft | None

        def set_name(self, name: str) -> None:
            """Name it by its route or handler, unless the user has named it."""

        def capture(self, error: BaseException, handled: bool) -> None:
            """Report an error of it, once."""

        def dismiss(self, error: BaseException) -> None:
            """What looks like an error of it is none, whoever tells of it."""

    #: Every value of each header of trace context, by its name in lower case.
    Carrier = Mapping[str, list[str]]

SUCCESS, FAILURE, UNKNOWN = "success", "failure", "unknown"


class Call:
    """One call of an instrumented function, as ``describe``, ``rewrite`` and ``observe`` see it."""

    __slots__ = ("args", "function", "kwargs")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """:param args: the positional arguments, for a method with the instance first."""
        self.function = function
        self.args = args
        self.kwargs = kwargs

    @property
    def instance(self) -> Any:
        """The object a method was called on."""
        return self.args[0]

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """The argument at a position (a method's instance is 0) or by its name."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)

    def replaced(self, position: int, name: str, value: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with one of them replaced; nothing of the caller's is mutated."""
        if position < len(self.args):
            return (*self.args[:position], value, *self.args[position + 1 :]), dict(self.kwargs)
        return self.args, {**self.kwargs, name: value}


def _text(value: Any) -> str:
    """A fact that should be a text as one."""
    try:
        return value.decode("utf-8", "replace") if isinstance(value, (bytes, bytearray)) else str(value)
    except Exception:  # a type of the program's
        return f"<unprintable {type(value).__name__} object>"


class SpanDraft:
    """What a ``describe`` function says of a call: the facts of the span that is to be (spec 7)."""

    __slots__ = (
        "action", "address", "attributes", "context", "db", "encoded", "exit", "http", "links", "name", "outcome",
        "port", "reached", "resource", "sealed", "subtype", "target_name", "target_type", "type",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        type: str,
        subtype: str | None = None,
        action: str | None = None,
        *,
        exit: bool = True,
        db: dict[str, Any] | None = None,
        http: dict[str, Any] | None = None,
        message: dict[str, Any] | None = None,
        links: Sequence[Carrier] = (),
        address: str | None = None,
        port: int | None = None,
        sealed: bool = False,
    ) -> None:
        """Facts of a span.

        :param exit: it leaves the process: a leaf with a service target (spec 19).
        :param db: ``context.db``. :param http: ``context.http`` with ``url``, ``method``, ``status_code``.
        :param message: ``context.message`` with ``queue``, ``age``, ``routing_key``.
        :param links: the trace context headers of what else it has to do with: one per message (spec 16).
        :param address: network address of the destination. :param port: its port.
        :param sealed: of an exit span: the requests that it is made of take no trace context along, since whoever
            answers them has no use for it.
        """
        self.name = name
        self.type = type
        self.subtype = subtype
        self.action = action
        self.exit = exit
        self.db = db
        self.http = http
        self.address = address
        self.port = port
        self.links = links
        self.sealed = sealed
        self.context: dict[str, Any] | None = None if message is None else {"message": message}
        #: ``otel.attributes``: flat names with dots.
        self.attributes: dict[str, str] | None = None
        self.outcome: str | None = None
        #: The service target, where it does not follow from the rest; both empty: there is none.
        self.target_type: str | None = None
        self.target_name: str | None = None
        #: ``destination.service.resource``, where the user names another; empty: there is none.
        self.resource: str | None = None
        #: Of a draft that many spans share, which is never changed: the settings it was encoded with, and how.
        self.encoded: tuple[Any, str] | None = None
        #: Of a draft that leads where many do, and was not changed: how that is encoded, once it has been.
        self.reached: list[str] | None = None

    def target(self) -> tuple[str, str]:
        """Type and name (or ``""``) of the service target of an exit span (spec 19); what was set explicitly wins."""
        name = self.target_name
        if self.target_type == "" and not name:  # the user wants none
            return "", ""
        if name is None:
            message = self.context.get("message") if self.context else None
            if self.db is not None:
                name = self.db.get("instance")
            elif message is not None:
                name = (message.get("queue") or {}).get("name")
            elif self.http is not None:
                name = self.http.get("host")
        kind, name = self.target_type, name or ""
        if kind is None:
            kind = self.subtype or self.type
        if name.__class__ is not str:
            name = _text(name)
        if "@" in name or "=" in name:  # a database may be named by how it is reached
            name = sanitize.connection(name)
        return kind if kind.__class__ is str else _text(kind), name

    def alike(self, other: SpanDraft) -> bool:
        """Whether both are of the same kind (spec 20.3)."""
        if self is other:
            return True
        if self.type != other.type or self.subtype != other.subtype:
            return False
        if self.db is None or other.db is None or self.target_name is not None or other.target_name is not None:
            return self.target() == other.target()
        # The usual case, for which nothing need be made.
        return self.target_type == other.target_type and self.db.get("instance") == other.db.get("instance")

    def copy(self) -> SpanDraft:
        """A draft of the same facts, to be changed."""
        copy = SpanDraft(self.name, self.type, self.subtype, self.action, exit=self.exit, http=self.http)
        copy.db = None if self.db is None else dict(self.db)
        copy.address, copy.port, copy.links, copy.sealed = self.address, self.port, self.links, self.sealed
        copy.context, copy.attributes, copy.outcome = self.context, self.attributes, self.outcome
        copy.target_type, copy.target_name, copy.resource = self.target_type, self.target_name, self.resource
        return copy


class TransactionDraft:
    """What a ``describe`` function says of a call that is a unit of work of this service: a job, a message, a request.

    :ivar result: what Kibana shows of how it went, such as ``HTTP 2xx``, ``OK`` or a job's state.
    :ivar outcome: of it; None: a failure if it has raised.
    :ivar unhandled: whether an exception that leaves it is an error; None: unless the outcome is another than failure.
    """

    __slots__ = ("carrier", "framework", "links", "message", "name", "outcome", "result", "type", "unhandled")

    def __init__(
        self,
        name: str,
        type: str,
        *,
        carrier: Carrier | None = None,
        links: Sequence[Carrier] = (),
        message: dict[str, Any] | None = None,
        framework: tuple[str, str] | None = None,
    ) -> None:
        """Facts of a transaction.

        :param carrier: the trace context headers of what has caused it.
        :param links: those of each message of a batch, which are linked to (spec 16).
        :param message: ``context.message``. :param framework: name and version (or ``""``) of what calls the program.
        """
        self.name = name
        self.type = type
        self.carrier = carrier
        self.links = links
        self.message = message
        self.framework = framework
        self.result: str | None = None
        self.outcome: str | None = None
        self.unhandled: bool | None = None
