"""What ``start_transaction`` and ``start_span`` return: a block's beginning and end, or a decorator."""

from __future__ import annotations

from apm_run.api.handles import Span, Transaction, working

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, TypeVar

    Function = TypeVar("Function", bound=Callable[..., Any])


class _Starter:
    """Something that is about to begin: with ``with``, with ``async with``, or with each call of a function."""

    __slots__ = ("_facts", "_open")

    _root = False

    def __init__(self, facts: dict[str, Any]) -> None:
        self._facts = facts
        # What has begun in blocks: one may be used by several threads, and in itself.
        self._open: list[Any] = []

    def __call__(self, function: Function) -> Function:
        """Decorate a function: each of its calls is a transaction or span, named by the function by default.

        Coroutine functions, generators and asynchronous generators keep their kind; what they are lasts until they
        end. A class is left as it is.
        """
        if working() is None:
            return function
        from apm_run.api import work

        wrapped: Function | None = work.decorated(self._root, self._facts, function)
        return function if wrapped is None else wrapped

    def _for_name(self, name: object) -> Any:
        """What a decorator without parentheses makes of its function; itself where the name is another thing."""
        if not callable(name):
            return self
        self._facts = {**self._facts, "name": ""}
        return self(name)

    def _begin(self, sync: bool = True) -> tuple[Any, ...]:
        if working() is None:
            return None, None
        from apm_run.api import work

        begun: tuple[Any, ...] | None = work.begin(self._root, self._facts, sync)
        return begun or (None, None)

    def _entered(self, handle: Any) -> Any:
        if working() is not None:
            self._open.append(handle)
        return handle

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        waiting = list(self._open)
        if waiting:
            handle = waiting[-1]
            if len(waiting) > 1:
                handle = next((each for each in reversed(waiting) if each._is_here()), handle)
            self._open.remove(handle)
            handle.end(error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)


class TransactionStarter(_Starter):
    """What :func:`start_transaction` returns: use it with ``with`` or ``async with``, or as a decorator.

    It can be used again, and by several threads: each time it begins another transaction.
    """

    __slots__ = ()

    _root = True

    def begin(self) -> Transaction:
        """Begin the transaction now, where no block fits; it is current until its ``end()``."""
        return Transaction(*self._begin())

    def __enter__(self) -> Transaction:
        transaction: Transaction = self._entered(self.begin())
        return transaction

    async def __aenter__(self) -> Transaction:
        return self.__enter__()


class SpanStarter(_Starter):
    """What :func:`start_span` returns: use it with ``with`` or ``async with``, or as a decorator.

    It can be used again, and by several threads: each time it begins another span.
    """

    __slots__ = ()

    def begin(self) -> Span:
        """Begin the span now, where no block fits; it is current until its ``end()``."""
        return Span(*self._begin())

    def __enter__(self) -> Span:
        span: Span = self._entered(self.begin())
        return span

    async def __aenter__(self) -> Span:
        span: Span = self._entered(Span(*self._begin(sync=False)))
        return span
