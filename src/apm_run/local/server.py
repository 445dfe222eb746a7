"""The receiver itself: a listening socket, a thread that serves it, a store."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING, Any

from apm_run.local import LocalExtraMissing, access
from apm_run.local.store import SIZE_CAP, Store
from apm_run.local.tally import Tally

if TYPE_CHECKING:
    import uvicorn
    from typing_extensions import Self

    from apm_run.intake.decode import Event

#: Where agents look for their server when nobody says otherwise.
DEFAULT_PORT = 8200
_PORTS_TRIED = 100
_CLOSING = 5.0


class Receiver:
    """An APM Server for this machine: takes events, keeps them, shows them on a page.

    ``host``: a loopback name or address, nothing else (ValueError). ``port``: the next free one is taken when
    it is in use; 0 takes any. ``store_path``: the SQLite file; without one a temporary file that
    :meth:`close` removes. ``size_cap``: bytes that the file may use. ``observer`` is called with every stored
    event, on a worker thread. Raises LocalExtraMissing where the extra ``apm-run[local]`` is not installed;
    :meth:`start` raises OSError when no port can be had, StoreError when the file is none of ours.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        store_path: str | None = None,
        size_cap: int = SIZE_CAP,
        observer: Callable[[Event], None] | None = None,
    ) -> None:
        missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
        if missing:
            raise LocalExtraMissing(" and ".join(missing))
        if not access.is_loopback(host):
            raise ValueError(f"the receiver listens on a loopback address only, not on {host!r}")
        self._host = host
        self._wanted_port = port
        self._store_path = store_path
        self._size_cap = size_cap
        self._observer = observer
        self._folder: str | None = None
        self._tally = Tally()
        self._store: Store | None = None
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: Thread | None = None
        self._ready = Flag()
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Listen, and serve on a background thread; return at once.

        Connections are taken from now on; they are answered as soon as the thread has loaded the server, some
        tenths of a second later (:meth:`wait_ready`), while the caller goes on with its own start.
        """
        self._socket = listen(self._host, self._wanted_port)
        try:
            path = self._store_path
            if path is None:
                self._folder = tempfile.mkdtemp(prefix="apm-run-")
                path = os.path.join(self._folder, "events.sqlite")
            self._store = Store(path, self._size_cap)
        except BaseException:
            self.close()
            raise
        self._thread = Thread(target=self._run, name="apm-run-receiver", daemon=True)
        self._thread.start()

    def wait_ready(self, timeout: float = 30.0) -> bool:
        """Wait until requests are answered; raise what kept the server from coming up."""
        done = self._ready.wait(timeout)
        if self._failure is not None:
            raise RuntimeError("the local receiver could not start") from self._failure
        return done

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._socket is None:
            raise RuntimeError("the receiver is not started")
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """The address for agents and browsers, without a trailing slash."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    def summary(self) -> dict[str, Any]:
        """Return what came in since the start (see :meth:`apm_run.local.tally.Tally.summary`)."""
        return self._tally.summary()

    def wait_idle(self, quiet: float, timeout: float) -> bool:
        """Wait until no intake request came for ``quiet`` seconds; False after ``timeout`` seconds."""
        return self._tally.wait_idle(quiet, timeout)

    def close(self) -> None:
        """Finish the requests under way, stop listening, remove a temporary store. May be called again."""
        if self._thread is not None:
            self._ready.wait(_CLOSING)
            if self._server is not None:
                self._server.should_exit = True
            self._thread.join(_CLOSING)
            self._thread = None
        if self._socket is not None:
            self._socket.close()
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _answering(self) -> None:
        self._tally.touch()
        self._ready.set()

    def _run(self) -> None:
        try:
            # Loaded here, so that the launcher can start the program meanwhile.
            from apm_run.local.serving import server

            assert self._store is not None
            self._server = server(self._store, self._tally, self._observer, self.port, self._answering)
            self._server.run(sockets=[self._socket] if self._socket else [])
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on ``port``, or on the next free port; OSError when there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    last: OSError | None = None
    for candidate in range(port, port + _PORTS_TRIED if port else 1):
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, candidate))
            listener.listen(2048)
            return listener
        except (OSError, OverflowError) as error:
            listener.close()
            last = error if isinstance(error, OSError) else OSError(str(error))
    assert last is not None
    raise last
