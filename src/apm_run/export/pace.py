"""When to send: the timing rules of the delivery contract, without a clock of their own (design 5a, spec 1.2)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds from the first event to the first batch, and from the last event to the next one while traffic is low.
FIRST = 0.25
QUIET = 1.0
#: The slowest step of the back-off.
SLOWEST = 6


class Pace:
    """Decides when the next batch is due. All times are seconds of one monotonic clock."""

    __slots__ = ("_begun", "_failures", "_jitter", "_request_time", "_spread", "held_until")

    def __init__(self, request_time: float, random: Callable[[], float]) -> None:
        """:param request_time: the option ``api_request_time``.

        :param random: gives numbers in [0, 1); spreads the agents of a fleet.
        """
        self._request_time = request_time
        self._jitter = random
        self._failures = 0
        self._begun = False
        self._spread = self._around(1.0)
        #: No request before that, 0.0 when nothing is wrong.
        self.held_until = 0.0

    def due(self, first: float, last: float, full: bool) -> float:
        """When to send.

        :param first: when the oldest waiting event came.
        :param last: when the newest came.
        :param full: whether ``api_request_size`` is reached.
        """
        if self.held_until:
            return self.held_until
        if full:
            return first
        if not self._begun:
            return first + FIRST
        return min(last + QUIET, first + self._request_time * self._spread)

    def succeeded(self) -> None:
        """The server took a batch."""
        self._begun = True
        self._failures = 0
        self.held_until = 0.0
        self._spread = self._around(1.0)

    def failed(self, now: float) -> None:
        """The server could not be reached or could not take it just now: 0, 1, 4, 9, 16, 25, 36, 36... seconds."""
        self._begun = True
        self.held_until = now + self._around(float(min(self._failures, SLOWEST) ** 2))
        self._failures += 1

    def refused(self, now: float) -> None:
        """The server will not take anything from us as things are: the slowest pace at once."""
        self._begun = True
        self._failures = SLOWEST
        self.held_until = now + self._around(float(SLOWEST**2))

    def _around(self, value: float) -> float:
        """Ten per cent more or less."""
        return value * (0.9 + 0.2 * self._jitter())
