"""What an instrumentation file says. It holds facts; the engine holds the machinery (design 4).

A path reads ``module:attribute.attribute``; the module is the trigger: its targets are instrumented when the
program has finished importing it. A path that is not there skips that one target.

``Target``     a function whose call is a span, or with ``entry=True`` a transaction
``Exchange``   a span over several calls on one object: a request and its response
``Callbacks``  a span that one callback of the library's begins and another ends
``Abandon``    a function that is called where such a span will have no second callback
``Failure``    a function whose call is a span only where it raises
``Within``     a function that is called while such a span runs, and knows more of it
``Annotate``   a function that tells something about the current transaction, or the program's own
``Watch``      a function whose result is looked at, whether or not a transaction runs
``Retold``     a function that logs an error which is reported as what it is
``Quiet``      a function below which there are no spans: what a library does on its own account
``Remember``   a function that tells something of an object which a later ``describe`` asks for
``Subscribe``  the library's own hook: always preferred to wrapping
``Claim``      a function that makes the program a server or worker: it is not one transaction itself
``Serve``      a server's or framework's application: a transaction per request
``Learn``      something that tells, once it is there, which other targets this program has
``Carry``      a function that takes work which runs elsewhere: the current span goes along
``Apart``      a function that starts what outlives its call and belongs to no span
``Greenlet``   a function that makes a greenlet, or the hook that is told of them: the current span goes along
``Factory``    a type implemented in C, which no attribute can be set on: it is made through a subclass
``Subclass``   the same for a type that the program makes itself: a subclass takes its place before anybody has seen it
``Receive``    a function that returns messages, which the program deals with afterwards
``Deliver``   a function that takes one of the program's, which is called with each message: a transaction each
``Scope``      a function that runs a piece of work: what the program has received in it, it deals with in it
"""

from __future__ import annotations

from apm_run.model import Call, SpanDraft, TransactionDraft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol, Union
    from weakref import ref

    from apm_run.config import Settings
    from apm_run.model import CurrentTransaction

    Describe = Callable[[Call], "SpanDraft | TransactionDraft | None"]
    Observe = Callable[[Call, Any, Any], None]
    Until = Callable[[Call, Any, Callable[..., None]], Any]
    Arguments = tuple[tuple[Any, ...], dict[str, Any]]
    Rewrite = Callable[[Call, Mapping[str, str]], "Arguments | None"]
    Tell = Callable[[Call, Any, SpanDraft, Settings], None]

    class ServerProtocol(Protocol):
        """How an application is called: a module of conventions."""

        def method(self, tracer: Any, original: Any, framework: str | None) -> Any:
            """The function to put in the place of a method whose call is the application's."""

        def application(self, tracer: Any, app: Any, framework: str | None) -> Any:
            """The object to put in the place of an application."""

    AnyTarget = Union[
        "Target", "Exchange", "Within", "Callbacks", "Abandon", "Failure", "Annotate", "Watch", "Retold", "Remember",
        "Subscribe", "Claim", "Serve", "Learn", "Carry", "Apart", "Greenlet", "Factory", "Quiet",
        "Subclass", "Receive", "Deliver", "Scope",
    ]  # fmt: skip
    Received = Callable[[Call, Any], "TransactionDraft | None"]
else:
    from _weakref import ref

__all__ = [
    "Abandon",
    "Annotate",
    "Apart",
    "Call",
    "Callbacks",
    "Carry",
    "Claim",
    "Deliver",
    "Exchange",
    "Factory",
    "Failure",
    "Greenlet",
    "Instrumentation",
    "Learn",
    "Quiet",
    "Receive",
    "Remember",
    "Retold",
    "Scope",
    "Serve",
    "SpanDraft",
    "Subclass",
    "Subscribe",
    "Target",
    "TransactionDraft",
    "Watch",
    "Within",
]


class Target:
    """A function whose call is a span."""

    __slots__ = ("describe", "entry", "made", "observe", "path", "rewrite", "until")

    def __init__(
        self,
        path: str,
        describe: Describe,
        *,
        observe: Observe | None = None,
        rewrite: Rewrite | None = None,
        entry: bool = False,
        until: Until | None = None,
        made: bool = False,
    ) -> None:
        """Say how a call is reported.

        :param describe: the facts of the span, or with ``entry`` of the transaction, or None: this call is none.
        :param observe: adds facts of the result (status, rows, state) to the draft; where the call has raised, the
            exception is its result.
        :param rewrite: the arguments with the trace context headers put in, without mutating the caller's; None
            leaves them.
        :param entry: the call is a transaction of its own instead of a span.
        :param until: what the call begins (a stream, a future) may end later: called with the call, its result and
            a function that ends the span, for the library's own hook to call with whatever it likes. It returns what
            will then know how it went, which is the result for ``observe``, whose call has no arguments then; None:
            it has ended with the call. A span is never current, so what else the call has begun is none of it. The
            end comes too where the library forgets that function: then ``observe`` has None for a result, or what is
            left of what would have known.
        :param made: the function is not the one in ``path``, but what that one returns.
        """
        self.path = path
        self.describe = describe
        self.observe = observe
        self.rewrite = rewrite
        self.entry = entry
        self.until = until
        self.made = made


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


class Callbacks:
    """A span that begins with one callback of the library's and ends with another, in whatever order others do."""

    __slots__ = ("describe", "key", "listener", "observe", "path")

    def __init__(
        self,
        path: str,
        listener: Callable[[Callable[[Any], None], Callable[[Any], None]], Any],
        describe: Callable[[Call, Settings], SpanDraft | None],
        *,
        key: Callable[[Any], Any],
        observe: Observe | None = None,
    ) -> None:
        """Say how the library is listened to.

        :param path: a function that takes a listener. :param listener: makes one of two functions: what begins and
            what ends, each called with what the library hands over.
        :param describe: the facts; the call's one argument is what the first callback got. :param key: of what a
            callback got: the same for both. :param observe: adds facts of what the second one got, and the outcome.
        """
        self.path = path
        self.listener = listener
        self.describe = describe
        self.key = key
        self.observe = observe


class Abandon:
    """A function that the library calls, in the same context, where the second callback will not come."""

    __slots__ = ("of", "path", "when")

    def __init__(self, path: str, of: str, when: Callable[[Call], bool]) -> None:
        """:param of: path of the :class:`Callbacks`. :param when: whether this call says so."""
        self.path = path
        self.of = of
        self.when = when


class Failure:
    """A function whose call is a span only where it raises: otherwise it is no work of its own."""

    __slots__ = ("describe", "path")

    def __init__(self, path: str, describe: Describe) -> None:
        """:param describe: the facts of the span, or None: this failure is none."""
        self.path = path
        self.describe = describe


class Within:
    """A function that a library calls while an exit span of its own runs: each attempt of a request, say."""

    __slots__ = ("observe", "path", "rewrite", "subtypes")

    def __init__(self, path: str, *subtypes: str, observe: Tell | None = None, rewrite: Rewrite | None = None) -> None:
        """Say whose spans it is called in.

        :param subtypes: of the spans; below any other, and outside of them, it goes straight through.
        :param observe: adds to the span's draft what the call and its result tell, or the exception that it has
            raised; the options are handed over.
        :param rewrite: as for :class:`Target`; where the span's transaction is not sampled there is no span, and it is
            asked at every call.
        """
        self.path = path
        self.subtypes = subtypes
        self.observe = observe
        self.rewrite = rewrite


class Annotate:
    """A function that, before it runs or once it has, tells something about the current transaction."""

    __slots__ = ("after", "annotate", "path", "program")

    def __init__(
        self,
        path: str,
        annotate: Callable[..., None],
        *,
        after: bool = False,
        program: bool = False,
    ) -> None:
        """Say what tells.

        :param annotate: called with the call and the transaction; not called where there is none.
        :param after: it tells once it has returned, and is called with the result as well; nothing where it has
            raised; no generator can.
        :param program: it tells about the program's own transaction, as long as nothing has claimed that.
        """
        self.path = path
        self.annotate = annotate
        self.after = after
        self.program = program


class Watch:
    """A function that is looked at after it has run, whether or not a transaction does."""

    __slots__ = ("path", "seen")

    def __init__(self, path: str, seen: Callable[[Call, Any, CurrentTransaction | None], None]) -> None:
        """:param seen: called with the call, its result and the current transaction, if there is one."""
        self.path = path
        self.seen = seen


class Retold:
    """A function that logs an error of the current transaction, which is reported as the exception that it is."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        """:param path: the function in which the log is called."""
        self.path = path


class Quiet:
    """A function that is no span, and has none below it."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        """:param path: what the library does without having been asked to: a pool's reset, say."""
        self.path = path


class Remember:
    """A function that, once it has run, tells something of an object, for a later ``describe`` to ask for.

    For objects that do not tell it themselves: what a connection in C leads to, say.
    """

    __slots__ = ("_known", "facts", "path")

    def __init__(self, path: str, facts: Callable[[Call], tuple[object, object, Any]]) -> None:
        """:param facts: the object, one that keeps it alive and takes weak references, and what is to be known."""
        self.path = path
        self.facts = facts
        #: By the identity of the object: the reference that ends it, and what is known.
        self._known: dict[int, tuple[ref[object], Any]] = {}

    def keep(self, call: Call) -> None:
        """Remember what a call has told."""
        thing, owner, fact = self.facts(call)
        key, known = id(thing), self._known
        known[key] = ref(owner, lambda _: known.pop(key, None)), fact

    def of(self, thing: object) -> Any:
        """What is known of an object, or None."""
        found = self._known.get(id(thing))
        return None if found is None else found[1]


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


class Apart:
    """A function that starts a thread or task which serves whoever comes next.

    It would take along what is current now, and everything that it ever does would belong there.
    """

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        """:param path: a function, or a coroutine function: nothing is current while it runs."""
        self.path = path


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

    __slots__ = ("base", "default", "keyword", "makes", "names", "path", "position", "targets")

    def __init__(
        self,
        path: str,
        base: str,
        *,
        position: int,
        keyword: str = "factory",
        default: str | None = None,
        names: tuple[str, ...] = (),
        makes: tuple[Factory, ...] = (),
        targets: tuple[Target, ...] = (),
    ) -> None:
        """Say what is made.

        :param base: path of the type that is made by default.
        :param position: of the factory among the positional arguments (a method's instance is 0).
        :param keyword: the name of its parameter.
        :param default: None may be asked for, and is what the instance's attribute of this name says, if it has one.
        :param names: all paths under which the same function is found: it stays one function.
        :param makes: methods of the type that make another such object; their path is the method's name.
        :param targets: methods of the type that are spans; their path is the method's name.
        """
        self.path = path
        self.base = base
        self.position = position
        self.keyword = keyword
        self.default = default
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


class Deliver:
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
