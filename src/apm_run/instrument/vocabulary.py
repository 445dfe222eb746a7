"""What an instrumentation file says. It holds facts; the engine holds the machinery (design 4).

A path reads ``module:attribute.attribute``; the module is the trigger: its targets are instrumented when the
program has finished importing it. A path that is not there skips that one target.

``Target``     a function whose call is a span, or with ``entry=True`` a transaction
``Exchange``   a span over several calls on one object: a request and its response
``Annotate``   a function that tells something about the current transaction
``Subscribe``  the library's own hook: always preferred to wrapping
``Claim``      a function that makes the program a server or worker: it is not one transaction itself
``Serve``      a server's or framework's application: a transaction per request
``Learn``      something that tells, once it is there, which other targets this program has
``Carry``      a function that takes work which runs elsewhere: the current span goes along
``Greenlet``   a function that makes a greenlet, or the hook that is told of them: the current span goes along
``Factory``    a type implemented in C, which no attribute can be set on: it is made through a subclass
``Subclass``   the same for a type that the program makes itself: a subclass takes its place before anybody has seen it
``Receive``    a function that returns messages, which the program deals with afterwards
``Callback``   a function that takes one of the program's, which is called with each message: a transaction each
``Scope``      a function that runs a piece of work: what the program has received in it, it deals with in it
"""

from __future__ import annotations

from apm_run.model import Call, SpanDraft, TransactionDraft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol, Union

    from apm_run.model import CurrentTransaction

    Describe = Callable[[Call], "SpanDraft | TransactionDraft | None"]
    Observe = Callable[[Call, Any, Any], None]
    Arguments = tuple[tuple[Any, ...], dict[str, Any]]
    Rewrite = Callable[[Call, Mapping[str, str]], "Arguments | None"]

    class ServerProtocol(Protocol):
        """How an application is called: a module of conventions."""

        def method(self, tracer: Any, original: Any, framework: str | None) -> Any:
            """The function to put in the place of a method whose call is the application's."""

        def application(self, tracer: Any, app: Any, framework: str | None) -> Any:
            """The object to put in the place of an application."""

    AnyTarget = Union[
        "Target", "Exchange", "Annotate", "Subscribe", "Claim", "Serve", "Learn", "Carry", "Greenlet", "Factory",
        "Subclass", "Receive", "Callback", "Scope",
    ]  # fmt: skip
    Received = Callable[[Call, Any], "TransactionDraft | None"]

__all__ = [
    "Annotate",
    "Call",
    "Callback",
    "Carry",
    "Claim",
    "Exchange",
    "Factory",
    "Greenlet",
    "Instrumentation",
    "Learn",
    "Receive",
    "Scope",
    "Serve",
    "SpanDraft",
    "Subclass",
    "Subscribe",
    "Target",
    "TransactionDraft",
]


class Target:
    """A function whose call is a span."""

    __slots__ = ("describe", "entry", "observe", "path", "rewrite")

    def __init__(
        self,
        path: str,
        describe: Describe,
        *,
        observe: Observe | None = None,
        rewrite: Rewrite | None = None,
        entry: bool = False,
    ) -> None:
        """Say how a call is reported.

        :param describe: the facts of the span, or with ``entry`` of the transaction, or None: this call is none.
        :param observe: adds facts of the result (status, rows, state) to the draft; where the call has raised, the
            exception is its result.
        :param rewrite: the arguments with the trace context headers put in, without mutating the caller's; None
            leaves them.
        :param entry: the call is a transaction of its own instead of a span.
        """
        self.path = path
        self.describe = describe
        self.observe = observe
        self.rewrite = rewrite
        self.entry = entry


class Exchange:
    """A span that begins with one call on an object and ends with another."""

    __slots__ = ("abandon", "describe", "finish", "inject", "observe", "path", "rewrite")

    def __init__(
        self,
        path: str,
        describe: Describe,
        *,
        inject: str,
        finish: str,
        abandon: str,
        rewrite: Rewrite | None = None,
        observe: Observe | None = None,
    ) -> None:
        """Say which calls belong together; all are methods of the class in ``path``.

        :param path: the method that begins. :param inject: the one before which ``rewrite`` adds the headers.
        :param finish: the one whose result (or exception) ends the span.
        :param abandon: the one that ends it where no result was asked for.
        """
        self.path = path
        self.describe = describe
        self.inject = inject
        self.finish = finish
        self.abandon = abandon
        self.rewrite = rewrite
        self.observe = observe


class Annotate:
    """A function that, before it runs, tells something about the current transaction."""

    __slots__ = ("annotate", "path")

    def __init__(self, path: str, annotate: Callable[[Call, CurrentTransaction], None]) -> None:
        """:param annotate: called with the call and the transaction; not called where there is none."""
        self.path = path
        self.annotate = annotate


class Subscribe:
    """A hook of the library's own."""

    __slots__ = ("handler", "path")

    def __init__(self, path: str, handler: Callable[..., None]) -> None:
        """Say what is heard.

        :param path: an object with a ``connect(function, weak=False)``, as blinker's signals have.
        :param handler: called with the current transaction and then with what the library hands over.
        """
        self.path = path
        self.handler = handler


class Claim:
    """A function whose call makes the program a server or a worker."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        """:param path: the function that serves or works until the program ends."""
        self.path = path


class Serve:
    """Where a server meets an application, or a framework's application is called."""

    __slots__ = ("argument", "attribute", "event", "framework", "itself", "path", "protocol", "result")

    def __init__(
        self,
        path: str,
        protocol: ServerProtocol,
        *,
        argument: tuple[int, str] | None = None,
        attribute: str | None = None,
        result: bool = False,
        itself: bool = False,
        event: tuple[str, str] | None = None,
        framework: str | None = None,
    ) -> None:
        """Say where the application is: by default the function itself is its call.

        :param protocol: ``conventions.wsgi`` or ``conventions.asgi``.
        :param argument: position (the instance is 0) and name of the argument that is the application.
        :param attribute: the instance's attribute that is, once the function has run.
        :param result: what the function returns is.
        :param itself: what stands there is, and who serves it looks it up there.
        :param event: the function takes callbacks for the server's events: the name of the one before a request, and
            of its item that is the application. A callback returns what it would have in their place.
        :param framework: the name for ``service.framework``; its version is the distribution's.
        """
        self.path = path
        self.protocol = protocol
        self.argument = argument
        self.attribute = attribute
        self.result = result
        self.itself = itself
        self.event = event
        self.framework = framework


class Learn:
    """A server's settings, which say where the program's applications are."""

    __slots__ = ("path", "targets")

    def __init__(self, path: str, targets: Callable[[Any], tuple[AnyTarget, ...]]) -> None:
        """:param path: the settings. :param targets: what follows from them."""
        self.path = path
        self.targets = targets


class Carry:
    """A function that takes work which runs elsewhere."""

    __slots__ = ("path", "position")

    def __init__(self, path: str, position: int) -> None:
        """:param position: of the argument that is the work (a method's instance is 0); it is always positional."""
        self.path = path
        self.position = position


class Greenlet:
    """A function that makes a greenlet.

    The span goes along in the greenlet's own context: its function, which libraries look at and print, stays.
    """

    __slots__ = ("hook", "path")

    def __init__(self, path: str, *, hook: bool = False) -> None:
        """Say where greenlets are met before they run.

        :param path: what returns one. :param hook: instead, what takes a function to call with each one.
        """
        self.path = path
        self.hook = hook


class Factory:
    """A function that makes an object of a C type, and takes the type to make as an argument."""

    __slots__ = ("base", "makes", "names", "path", "position", "targets")

    def __init__(
        self,
        path: str,
        base: str,
        *,
        position: int,
        names: tuple[str, ...] = (),
        makes: tuple[Factory, ...] = (),
        targets: tuple[Target, ...] = (),
    ) -> None:
        """Say what is made.

        :param base: path of the type that is made by default; its parameter is called ``factory``.
        :param position: of the factory among the positional arguments (a method's instance is 0).
        :param names: all paths under which the same function is found: it stays one function.
        :param makes: methods of the type that make another such object; their path is the method's name.
        :param targets: methods of the type that are spans; their path is the method's name.
        """
        self.path = path
        self.base = base
        self.position = position
        self.names = names
        self.makes = makes
        self.targets = targets


class Subclass:
    """A type written in C, which the program makes objects and types of.

    While its module is being imported nobody has seen it yet: a subclass takes its place, so that ``type(made)`` is
    what the library calls by that name. A type that was there before the agent is left alone.
    """

    __slots__ = ("path", "targets")

    def __init__(self, path: str, targets: tuple[Target | Receive, ...]) -> None:
        """:param targets: its methods; their path is the method's name."""
        self.path = path
        self.targets = targets


class Receive:
    """A function that returns messages, or a generator function that yields one after the other.

    Within a transaction it is a span, even if nothing has come. Outside, what has come begins a transaction, in which
    the program deals with it: until the same thread or task asks again, leaves its loop or ends.
    """

    __slots__ = ("leave", "loop", "observe", "path", "poll", "received", "through")

    def __init__(
        self,
        path: str,
        poll: Describe,
        received: Received,
        *,
        observe: Observe | None = None,
        loop: str | None = None,
        leave: tuple[str, ...] = (),
        through: str | None = None,
    ) -> None:
        """Say how messages come.

        :param poll: the facts of the span. :param observe: adds to them what has come.
        :param received: from the call and its result (of a generator: its item) the facts of the transaction; None
            where nothing has come.
        :param loop: the method that returns the consumer itself as what a loop iterates.
        :param leave: methods of the same class after which the program deals with no message of it any more.
        :param through: the attribute that is another consumer, which it asks in its place, in another thread maybe.
        """
        self.path = path
        self.poll = poll
        self.received = received
        self.observe = observe
        self.loop = loop
        self.leave = leave
        self.through = through


class Callback:
    """A function that takes one of the program's, which is called later: each call is a transaction."""

    __slots__ = ("argument", "describe", "path")

    def __init__(
        self,
        path: str,
        describe: Callable[[Call], Describe | None],
        *,
        argument: tuple[int, str],
    ) -> None:
        """Say what is called.

        :param describe: from the call that hands it over, how the calls of it are described; None: they are not.
        :param argument: position (the instance is 0) and name of the argument that is the program's function.
        """
        self.path = path
        self.describe = describe
        self.argument = argument


class Scope:
    """A function that runs a piece of work from its beginning to its end, in a thread that goes on with others."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        """:param path: the function."""
        self.path = path


class Instrumentation:
    """All that is to be known about one library."""

    __slots__ = ("library", "targets", "versions")

    def __init__(self, library: str, versions: str, targets: tuple[AnyTarget, ...]) -> None:
        """:param library: its distribution's name, or the module's of the standard library.

        :param versions: the releases it was tested with, for the docs; nothing is refused by it.
        """
        self.library = library
        self.versions = versions
        self.targets = targets

    def extended(self, targets: list[AnyTarget]) -> Instrumentation:
        """The same with more targets."""
        return Instrumentation(self.library, self.versions, (*self.targets, *targets))

    def triggers(self) -> set[str]:
        """The modules whose import instruments something."""
        return {target.path.partition(":")[0] for target in self.targets}
