"""A call that begins what ends later: a stream, a future, with the library's own hook for its end.

A span is not current while the call runs: threads and tasks that it starts would take it along, and what they do for
the program, such as producing the messages of a stream, would hang below an exit span, which is a leaf. A transaction
is, as always, until the call returns.
"""

from __future__ import annotations

from _weakref import ref
from itertools import count

from apm_run.instrument import wrap
from apm_run.model import UNKNOWN, Call
from apm_run.tracer import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from apm_run.instrument.vocabulary import Until


def ending(original: Callable[..., Any], interceptor: wrap.Interceptor, until: Until) -> Callable[..., Any]:
    """The wrapper of a plain function whose span or transaction ends when the library says so."""
    interceptor.sync = False
    entry = interceptor.entry

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        parent = interceptor.parent()
        opened = call = None
        if parent is not None or entry:
            call = Call(original, args, kwargs)
            opened, args, kwargs = interceptor.open(parent, call)
        previous = current.get()
        if entry and opened is not None:
            current.set(opened)
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            if opened is not None and call is not None:
                wrap.leave(opened, previous)
                interceptor.fail(opened, call, error)
            wrap.hide_frame(error)
            raise
        if opened is not None and call is not None:
            wrap.leave(opened, previous)
            _arm(End(interceptor, opened, original), until, call, result)
        return result

    return wrap.dressed(wrapper, original)


def _arm(end: End, until: Until, call: Call, result: Any) -> None:
    """Hand the end to the library; where it does not take it, that is now."""
    known = None
    try:
        known = until(call, result, end)
    except Exception:
        end.interceptor.fault("until")
    if known is None:
        end.now(call, result)
    else:
        end.wait(known)


class End:
    """What ends a span or transaction: called from any thread, once or more, or when nobody is left to call it.

    It keeps nothing of the program alive: neither the arguments of the call, nor, where that takes weak references,
    what knows how it went.
    """

    __slots__ = ("_called", "_ends", "_known", "_opened", "_original", "_process", "interceptor")

    def __init__(self, interceptor: wrap.Interceptor, opened: Any, original: Callable[..., Any]) -> None:
        """:param opened: the span or transaction that has begun."""
        self.interceptor = interceptor
        self._opened = opened
        self._original = original
        self._process = interceptor.tracer.process
        #: Gives what is known; None until then.
        self._known: Callable[[], Any] | None = None
        self._called = False
        self._ends = count()

    def __call__(self, *_: object, **__: object) -> None:
        """End it, as soon as it is known what knows how it went."""
        self._called = True
        if self._known is not None:
            self._finish()

    def wait(self, known: Any) -> None:
        """It ends when it is called; which may have been so already, by another thread or at once."""
        try:
            self._known = ref(known)
        except TypeError:
            self._known = lambda: known
        if self._called:
            self._finish()

    def now(self, call: Call, result: Any) -> None:
        """It ends with the call."""
        next(self._ends)
        self.interceptor.close(self._opened, call, result)

    def __del__(self) -> None:
        """Nobody can call it any more: whether it has succeeded is not known, unless the library knows."""
        self._finish()

    def _finish(self) -> None:
        if next(self._ends) or self._process != self.interceptor.tracer.process:  # forked: it ends in the parent
            return
        known, self._known = self._known, None
        opened, self._opened = self._opened, None
        if not self._called and opened.draft.outcome is None:
            opened.own().outcome = UNKNOWN
        result = None if known is None else known()
        self.interceptor.close(opened, Call(self._original, (), {}), result, here=False)
