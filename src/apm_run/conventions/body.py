"""The body of a request as events show it (spec 22, ``capture_body``): what the program itself has read, no more.

It is kept as it comes, up to a bound; it is made readable and sanitised when an event that shows it is encoded.
"""

from __future__ import annotations

from apm_run import sanitize
from apm_run.config.wildcard import any_match
from apm_run.guard import failed
from apm_run.intake.limits import cut
from apm_run.sanitize import REDACTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.config import Settings

#: ``capture_body`` -> the events that show the body.
_EVENTS = {
    "errors": ("error",),
    "transactions": ("transaction",),
    "all": ("error", "transaction"),
}
#: The longest character of a text is so many bytes.
_WIDEST = 4


def of_request(content_type: str, encoding: str, settings: Settings) -> Body | str:
    """``context.request.body`` of a request that has one: a place for what is read of it, or the word for "hidden".

    :param encoding: ``Content-Encoding``: what is compressed is not shown.
    """
    events = _EVENTS.get(settings.capture_body)
    if events is None or encoding.strip().lower() not in ("", "identity"):
        return REDACTED
    if not any_match(settings.capture_body_content_types, content_type):
        return REDACTED
    return Body(content_type, events, settings)


class Body:
    """What a program has read of a request's body."""

    __slots__ = ("_data", "_events", "_limit", "_secret", "_shown", "_type", "room", "source")

    def __init__(self, content_type: str, events: tuple[str, ...], settings: Settings) -> None:
        """:param events: the kinds of events that show it."""
        self._type = content_type
        self._events = events
        self._limit = settings.long_field_max_length
        self._secret = sanitize.names(settings.sanitize_field_names)
        self._data = bytearray()
        #: Bytes that are still of interest: so many that more than what is shown shows that it was cut.
        self.room = (self._limit + 1) * _WIDEST
        self._shown: tuple[int, Any] = (0, None)
        #: What it is read from, where a library's streams are all alike.
        self.source: object = None

    def add(self, data: Any) -> None:
        """Keep what the program has read just now, as far as there is room."""
        if self.room > 0:
            kept = data if len(data) <= self.room else memoryview(data)[: self.room]
            self._data += kept
            self.room -= len(kept)

    @property
    def length(self) -> int:
        """How much has been kept."""
        return len(self._data)

    def __call__(self, event: str) -> str | dict[str, Any] | None:
        """What an event shows of it; None as long as nothing has been read.

        :param event: ``transaction`` or ``error``.
        """
        if event not in self._events:
            return REDACTED
        if self._shown[0] != len(self._data):
            try:
                self._shown = (len(self._data), self._readable(bytes(self._data)))
            except Exception:
                failed("request body")
                return REDACTED
        found: str | dict[str, Any] | None = self._shown[1]
        return found

    def _readable(self, data: bytes) -> str | dict[str, Any]:
        from apm_run.conventions import body_text

        kind, _, parameters = self._type.partition(";")
        kind = kind.strip().lower()
        if kind == "multipart/form-data":
            boundary = body_text.parameter(parameters, "boundary")
            return body_text.multipart(data, boundary, self._limit, self._secret) if boundary else REDACTED
        text = body_text.decoded(data, body_text.parameter(parameters, "charset"), whole=self.room > 0)
        if text is None or kind.startswith("multipart/"):
            return REDACTED
        text = cut(text, self._limit)
        if "json" in kind or text.lstrip()[:1] in ("{", "["):  # whatever it is called
            shown = body_text.json(text, self._secret)
            if shown is not None:
                return cut(shown, self._limit)
            if kind != "text/plain":
                return REDACTED
        if kind == "application/x-www-form-urlencoded":
            return body_text.form(text, self._secret)
        return text
