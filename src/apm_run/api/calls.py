"""The functions of the API."""

from __future__ import annotations

from apm_run.api.handles import Span, Transaction, working
from apm_run.api.start import SpanStarter, TransactionStarter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Literal, TypeVar, Union

    from apm_run.api.handles import Place

    Event = dict[str, Any]
    Filter = TypeVar("Filter", bound=Callable[[Event], Union[Event, None]])
    Kind = Literal["transaction", "span", "error", "metricset"]


def is_running() -> bool:
    """Whether this process is traced. Everything else may be called either way.

    ```python
    import apm_run

    print("traced" if apm_run.is_running() else "not traced")
    ```
    """
    live = working()
    return live is not None and live.tracer() is not None


def current_transaction() -> Transaction:
    """The transaction that the calling code runs in: the request, the job, or the program's own.

    ```python
    import apm_run

    transaction = apm_run.current_transaction()
    transaction.name = "nightly import"
    transaction.set_label("tenant", "acme")
    transaction.set_user("42", email="ada@example.com")
    ```
    """
    live = working()
    item = None if live is None else live.current()
    return Transaction() if item is None else Transaction(item.transaction)


def current_span() -> Span:
    """The span that the calling code runs in; outside any, one that does nothing.

    ```python
    import apm_run

    apm_run.current_span().set_label("attempt", 2)
    ```
    """
    live = working()
    item = None if live is None else live.current()
    return Span(None, item) if item is None or item.transaction is item else Span(item, item.parent)


def start_transaction(
    name: str = "",
    type: str = "custom",
    *,
    parent: Place | None = None,
    links: Iterable[Place] | None = None,
) -> TransactionStarter:
    """Begin a transaction with a block, or with each call of a function that it decorates.

    It is always one of its own, whatever is current: the root of a new trace, or below its ``parent``. While it runs
    it is current; then what was before is again. An exception that leaves it is reported, and makes its outcome
    ``failure``.

    ```python
    import apm_run

    with apm_run.start_transaction("import prices", "job") as transaction:
        transaction.set_label("source", "ecb")
        transaction.result = "success"


    @apm_run.start_transaction(type="job")
    def clean_up() -> None:
        pass


    clean_up()


    def handle(message: dict[str, str]) -> None:
        with apm_run.start_transaction("handle message", "messaging", parent=message):
            pass


    handle({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})

    transaction = apm_run.start_transaction("by hand").begin()
    transaction.end()
    ```

    :param name: by default that of the function.
    :param type: such as ``job`` or ``messaging``.
    :param parent: what it continues: the headers of a request or message, their ``traceparent``, a transaction or
        a span. Without a valid ``traceparent`` it begins a trace.
    :param links: other transactions and spans that it has to do with, in the same forms.
    """
    starter = TransactionStarter({"name": name, "type": type, "parent": parent, "links": links})
    return starter if isinstance(name, str) else starter._for_name(name)


def start_span(
    name: str = "",
    type: str = "custom",
    subtype: str | None = None,
    action: str | None = None,
    *,
    exit: bool = False,
    parent: Transaction | Span | None = None,
    links: Iterable[Place] | None = None,
) -> SpanStarter:
    """Begin a span with a block, or with each call of a function that it decorates.

    It is a part of what is current, or of its ``parent``. Outside any transaction, below an exit span and where nothing
    is sampled it is a span that does nothing. An exception that leaves it makes its outcome ``failure``.

    ```python
    import apm_run


    @apm_run.start_span(type="app")
    def render(rows: list[int]) -> str:
        return ", ".join(map(str, rows))


    @apm_run.start_span("load")
    async def load(count: int) -> list[int]:
        return list(range(count))


    with apm_run.start_transaction("report", "job"):
        with apm_run.start_span("GET prices", "external", "http", exit=True) as span:
            headers = span.outgoing_headers()
            span.set_service_target("http", "prices:80")
        render([1, 2, 3])
    ```

    :param name: by default that of the function.
    :param type: such as ``app``, ``db`` or ``external``. :param subtype: such as ``postgresql``.
    :param action: such as ``query``.
    :param exit: it leaves this process for a database or another service: it has no spans below it, and is shown on
        the service map.
    :param parent: a transaction or span, such as one of another thread.
    :param links: other transactions and spans that it has to do with: a ``traceparent``, headers, transactions or
        spans.
    """
    facts = {"name": name, "type": type, "subtype": subtype, "action": action}
    starter = SpanStarter({**facts, "exit": exit, "parent": parent, "links": links})
    return starter if isinstance(name, str) else starter._for_name(name)


def outgoing_headers() -> dict[str, str]:
    """The headers that make what another service does a part of the current trace; empty outside any transaction.

    Calls of the supported HTTP clients have them already. Send all of them.

    ```python
    import apm_run

    message = {"body": "...", "headers": apm_run.outgoing_headers()}
    ```
    """
    live = working()
    item = None if live is None else live.current()
    return {} if item is None else live.headers(item) or {}


def capture_exception(error: BaseException | None = None, *, handled: bool = True) -> None:
    """Report an exception, each one once.

    ```python
    import apm_run

    try:
        1 / 0
    except ZeroDivisionError:
        apm_run.capture_exception()
    ```

    :param error: by default the one that is being handled. :param handled: whether the program goes on from it.
    """
    live = working()
    if live is not None:
        live.capture_exception(live.current(), error, handled)


def capture_message(
    message: str, *, param_message: str | None = None, level: str = "error", logger_name: str | None = None
) -> None:
    """Report an error that is no exception.

    ```python
    import apm_run

    apm_run.capture_message("order 17 has no items", param_message="order %s has no items", level="warning")
    ```

    :param param_message: the message without what changes in it: errors with the same one are one group in Kibana.
    :param level: such as ``warning``. :param logger_name: such as the name of the module.
    """
    live = working()
    if live is not None:
        live.capture_message(live.current(), message, param_message, level, logger_name)


def add_filter(kind: Kind, function: Filter) -> Filter:
    """Have a function see each event of a kind before it is sent: to change it, or to drop it by returning None.

    An event is the object that the intake protocol of APM Server describes; what the server would refuse, as they
    leave it, is logged and left out. A function that raises is logged, and the event is sent. It may be called in any
    thread, and more than once for what takes long, as it is so far: what it does should depend on nothing but the
    event. Dropped events are counted; the spans and errors of a dropped transaction are events of their own.

    ```python
    from typing import Any, Optional

    import apm_run


    def without_health_checks(event: dict[str, Any]) -> Optional[dict[str, Any]]:
        return None if event["name"] == "GET /health" else event


    def without_addresses(event: dict[str, Any]) -> Optional[dict[str, Any]]:
        event.get("context", {}).get("user", {}).pop("email", None)
        return event


    apm_run.add_filter("transaction", without_health_checks)
    apm_run.add_filter("transaction", without_addresses)
    apm_run.add_filter("error", without_addresses)
    ```

    :param kind: ``transaction``, ``span``, ``error`` or ``metricset``.
    :param function: takes the event, and returns it, another one, or None. Functions of one kind are called in the
        order in which they were added.
    :returns: the function.
    """
    live = working()
    if live is not None:
        live.add_filter(kind, function)
    return function


def flush(timeout: float = 10.0) -> bool:
    """Send what has ended, now. At its end a program does so by itself.

    ```python
    import apm_run

    apm_run.flush(timeout=2.0)
    ```

    :param timeout: seconds that it takes at most.
    :returns: whether the server has answered for everything; true where nothing is traced.
    """
    live = working()
    return live is None or live.flush(timeout) is not False
