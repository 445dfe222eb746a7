"""A server in a process of its own that misbehaves on demand and remembers what came: ``with Receiving() as server:``.

``server.mode("503")`` from one moment to the next: a status, ``refused`` (the port is closed), ``other certificate``,
or a misdeed of :class:`tests.servers.Server`. What it read in a request that it answered with 2xx has arrived; what it
read and never answered (``hang``, ``reset``) may have.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.servers import Request, Server  # noqa: E402

if TYPE_CHECKING:
    from typing_extensions import Self

HEALTHY = "202"


class Receiving:
    """The handle of the process. ``certificates``: a list of (certificate, key) files makes it speak TLS."""

    def __init__(self, *certificates: tuple[str, str]) -> None:
        words = [word for pair in certificates for word in pair]
        self._process = subprocess.Popen(
            [sys.executable, __file__, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = self._ask("url")

    def mode(self, mode: str) -> None:
        """Behave like that from now on."""
        self._ask("mode", mode)

    def received(self) -> Received:
        """What came in until now."""
        return Received([Came(**one) for one in self._ask("received")])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def _ask(self, *words: str) -> Any:
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@dataclass
class Came:
    """One request.

    ``answer``: the mode it was answered in. ``process``, ``agent``: of the metadata. ``events``: their keys, such as
    ``transaction /17/3`` for the third request that process 17 has served.
    """

    at: float
    answer: str
    process: dict[str, int]
    agent: dict[str, str]
    events: list[str]

    @property
    def taken(self) -> bool:
        return self.answer == HEALTHY


@dataclass
class Received:
    """All requests, and what they say."""

    requests: list[Came]
    times: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        self.times = Counter(key for request in self.requests if request.taken for key in request.events)

    @property
    def twice(self) -> set[str]:
        """What arrived more than once."""
        return {key for key, times in self.times.items() if times > 1}

    @property
    def unanswered(self) -> list[Came]:
        """Requests that were read and not answered: what is in them is sent again."""
        return [request for request in self.requests if not request.answer.isdigit()]

    def twice_beyond_one_request(self) -> set[str]:
        """What arrived twice though it was not in the one request that its process may repeat."""
        beyond = set()
        twice = self.twice
        for pid in {request.process["pid"] for request in self.requests}:
            own = [set(request.events) for request in self.requests if request.taken and request.process["pid"] == pid]
            doubled = {key for keys in own for key in keys} & twice
            if doubled and not any(doubled <= keys for keys in own):
                beyond |= doubled
        return beyond


class _Recording(Server):
    """Keeps of each request what the proof needs."""

    def keep(self, request: Request, answer: object) -> None:
        metadata, *events = (next(iter(line.items())) for line in request.lines)
        facts = metadata[1]
        self.requests.append(
            Came(  # type: ignore[arg-type]
                at=request.at,
                answer=str(answer),
                process={name: facts["process"].get(name, 0) for name in ("pid", "ppid")},
                agent={"ephemeral_id": facts["service"]["agent"].get("ephemeral_id", "")},
                events=[_key(kind, event) for kind, event in events],
            )
        )


def _key(kind: str, event: dict[str, Any]) -> str:
    url = event.get("context", {}).get("request", {}).get("url", {})
    return f"{kind} {url.get('pathname') or event.get('id')}"


class _Station:
    """The process: it opens and closes its port as it is told."""

    def __init__(self, contexts: list[ssl.SSLContext]) -> None:
        self._contexts = contexts
        self._server = self._open(0, contexts[0] if contexts else None)

    def _open(self, port: int, tls: ssl.SSLContext | None, requests: list[Any] | None = None) -> Server:
        return _Recording(port=port, tls=tls, requests=requests if requests is not None else []).__enter__()

    def serve(self) -> None:
        for line in sys.stdin:
            word, *rest = json.loads(line)
            print(json.dumps(getattr(self, word)(*rest)), flush=True)
        self._server.__exit__()

    def url(self) -> str:
        return self._server.url

    def received(self) -> list[dict[str, Any]]:
        with self._server.changed:
            return [vars(request) for request in self._server.requests]

    def mode(self, mode: str) -> float:
        old = self._server
        other = mode == "other certificate"
        tls = self._contexts[other] if self._contexts else None
        if mode == "refused" or tls is not old.tls:
            # The connections that are open go as well, as at a restart.
            old.__exit__()
        if mode == "refused":
            return time.monotonic()
        if old.ended.is_set():
            self._server = self._open(old.port, tls, old.requests)
        self._server.answers[:] = [202 if other else int(mode) if mode.isdigit() else mode]
        return time.monotonic()


def _context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


if __name__ == "__main__":
    files = sys.argv[1:]
    _Station([_context(*files[index : index + 2]) for index in range(0, len(files), 2)]).serve()
