"""Log records say in which transaction they were logged, by the names that Elastic's tools know (spec 25).

They get attributes: the program's formats stay, and what it prints by them. Where it has a formatter that asks for
the attributes, or makes ECS of records, each record has them; otherwise those of a request, a job or a transaction of
the program's making have, for formatters that show whatever they find, and those of a program as a whole have none.
The attributes are there for handlers and their formatters, also those of another thread or process, for they are
plain values of the record. What the program has put there by such a name is its own.
"""

from __future__ import annotations

from apm_run.guard import failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any, Optional, Union

    from apm_run.tracer import Span, Transaction

    #: What runs where a record is logged; the service's name and environment.
    Logged = tuple[Union[Span, Transaction, None], str, Optional[str]]
    Facts = Callable[[bool], Optional[Logged]]

#: As the official agent calls them, and ecs-logging reads them.
ATTRIBUTES = (
    "elasticapm_transaction_id",
    "elasticapm_trace_id",
    "elasticapm_span_id",
    "elasticapm_service_name",
    "elasticapm_service_environment",
)
_PREFIX = "elasticapm_"
#: The package whose formatters read the attributes and show them by their ECS names.
_ECS = "ecs_logging"


class Correlation:
    """What is put on records.

    :ivar wanted: the program has a formatter that reads the attributes, so that each record is to have them.
    """

    __slots__ = ("_facts", "_record", "wanted")

    def __init__(self, facts: Facts, record: type) -> None:
        """Say where it comes from.

        :param facts: of a record that is logged now, or None; told whether it is to have the attributes anyway.
        :param record: ``logging.LogRecord``.
        """
        self._facts = facts
        self._record = record
        self.wanted = False

    def stamp(self, record: Any) -> None:
        """Put the attributes on a record before its handlers get it."""
        try:
            facts = self._facts(self.wanted)
            if facts is None or not isinstance(record, self._record):
                return
            kind, own = type(record), record.__dict__
            for name, value in zip(ATTRIBUTES, _values(*facts)):
                if name in own or not (value or self.wanted) or (kind is not self._record and hasattr(kind, name)):
                    continue
                own[name] = value
        except Exception:
            failed("logging: correlate")

    def meet(self, formatter: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """A formatter has been made: whether it reads the attributes."""
        try:
            text = arguments[0] if arguments else named.get("fmt")
            if (type(text) is str and _PREFIX in text) or _is_ecs(formatter):
                self.wanted = True
        except Exception:
            failed("logging: formatter")


def _values(running: Span | Transaction | None, service: str, environment: str | None) -> tuple[str | None, ...]:
    """The values of the attributes, in their order."""
    if running is None:
        return None, None, None, service, environment
    transaction = running.transaction
    span = None if running is transaction else running.id
    return transaction.id, transaction.trace_id, span, service, environment


def _is_ecs(formatter: object) -> bool:
    return any(kind.__module__.partition(".")[0] == _ECS for kind in type(formatter).__mro__)


def watched(original: Callable[..., Any], correlation: Correlation) -> Callable[..., Any]:
    """A formatter's ``__init__`` that shows the formatter to us."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # pragma: no cover
        try:
            original(self, *args, **kwargs)
        except BaseException as error:
            trace = error.__traceback__
            error.__traceback__ = trace and trace.tb_next
            raise
        correlation.meet(self, args, kwargs)

    return __init__


def correlated(module: ModuleType, facts: Facts) -> Correlation | None:
    """The correlation of the records of ``logging``; None where it has none of that name."""
    record = getattr(module, "LogRecord", None)
    return Correlation(facts, record) if isinstance(record, type) else None
