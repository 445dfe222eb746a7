"""What this process hands to those that it starts: the trace context of who starts them (docs/decisions/0017).

In the environment of a child, never in this process's own, and only where the program leaves the environment as it is:
one that it has made itself is not edited. What takes no environment (``os.system``) hands over nothing.
"""

from __future__ import annotations

import os
import posix
import sys

from apm_run.ends import TAKEN, StandIn, stand
from apm_run.guard import failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from functools import partial
    from types import ModuleType
    from typing import Any

    from apm_run.agent import Agent
else:
    from _functools import partial

#: Length of the arguments of ``fork_exec`` -> where ``preexec_fn`` is among them: below 3.11 and from there on.
_PREEXEC = {21: 20, 23: 21}

_NAMES = (b"TRACEPARENT", b"TRACESTATE", TAKEN.encode())

#: Where the preparation data of multiprocessing's children holds what their environment can not: a fork server's is
#: that of who has started it first.
_KEY = "apm_run_parent"


def watch(agent: Agent, module: ModuleType) -> None:
    """Have what starts other programs by way of this module hand over the trace context."""
    if module.__name__ == "subprocess":
        _watch_spawn(agent, module)
        return
    from apm_run.instrument.place import replace
    from apm_run.instrument.preceded import preceded

    if module.__name__ == "multiprocessing.spawn":
        replace(module, "get_preparation_data", lambda original: _asking(agent, original))
        replace(module, "prepare", lambda original: preceded(original, _preparing(agent)))
    else:
        replace(module, "main", lambda original: preceded(original, _serving(agent)))


def _watch_spawn(agent: Agent, module: ModuleType) -> None:
    def fork(*args: Any) -> tuple[Any, ...] | None:
        try:
            first = _PREEXEC.get(len(args))
            if first is None or args[5] is not None:
                return None
            parent = parent_of_child(agent)
            if parent is None:
                return None
            if args[first] is not None:
                return (*args[:first], partial(_prepared, args[first], agent, parent), *args[first + 1 :])
            environment = _merged(agent, None, parent)
            if environment is not None:
                return (*args[:5], [name + b"=" + value for name, value in environment.items()], *args[6:])
        except Exception:
            failed("subprocess")
        return None

    def spawn(*args: Any, **_: Any) -> tuple[Any, ...] | None:
        try:
            # It has to be given one: its own says that there is none for this child.
            if len(args) == 3 and (args[2] is None or args[2] is os.environ):
                parent = parent_of_child(agent)
                environment = parent and _merged(agent, args[2], parent)
                return (*args[:2], environment) if environment else None
        except Exception:
            failed("os.posix_spawn")
        return None

    stand(("posix_spawn", "posix_spawnp"), spawn)
    forks = sys.modules["_posixsubprocess"]
    original = forks.fork_exec
    if type(original) is not StandIn:
        forks.fork_exec = StandIn(original, fork)  # type: ignore[attr-defined]
    if getattr(module, "_fork_exec", None) is original:
        module._fork_exec = forks.fork_exec  # type: ignore[attr-defined]


def _prepared(preexec: Callable[[], object], agent: Agent, parent: tuple[str, str]) -> None:
    """In the child, before it becomes the other program: ``preexec_fn`` may change the environment there.

    So it is what that leaves which is inherited; and here no other thread reads it.
    """
    preexec()
    try:
        environment = _merged(agent, None, parent) or {}
        for name in _NAMES:
            if name in environment:
                posix.putenv(name, environment[name])
            elif environment:
                posix.unsetenv(name)
    except Exception:
        failed("preexec_fn")


def become(agent: Agent, execve: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Become another program by ``os.execv(*args)`` or ``os.execve(*args)``, if there is anything to hand over.

    Returns where there is not, or it fails: as it was called, it fails as without us.

    :param execve: the original.
    """
    inherits = len(args) == 2 or (len(args) == 3 and args[2] is os.environ)
    if not inherits or not isinstance(args[1], (list, tuple)) or not args[1] or not args[1][0]:
        return
    parent = _successor(agent)
    environment = parent and _merged(agent, args[2] if len(args) == 3 else None, parent)
    if environment:
        try:
            execve(args[0], args[1], environment)
        except (OSError, TypeError, ValueError):
            return


def _successor(agent: Agent) -> tuple[str, str] | None:
    """The parent of what this process becomes: the program's transaction was ended before, or said nothing."""
    from apm_run.tracer import current

    running = current.get()
    if running is not None:
        return _header(agent, running)
    if agent._tracer is None:
        return agent.program.parent
    ambient = agent.tracer.ambient
    if ambient is None or ambient.parent_id is None:
        return None
    from apm_run.propagation import traceparent

    return traceparent(ambient.trace_id, ambient.parent_id, ambient.sampled), ambient.tracestate


def parent_of_child(agent: Agent) -> tuple[str, str] | None:
    """``TRACEPARENT`` and ``TRACESTATE`` of what is started here and now; None outside any transaction."""
    if agent.aside:
        return None
    from apm_run.tracer import current

    running = current.get() or agent.link()
    return None if running is None else _header(agent, running)


def _header(agent: Agent, running: Any) -> tuple[str, str] | None:
    if not agent.tracer.active:
        return None
    headers = agent.tracer.headers(running)
    return headers["traceparent"], headers.get("tracestate", "")


def _merged(agent: Agent, given: Mapping[str, str] | None, parent: tuple[str, str]) -> dict[bytes, bytes] | None:
    encode = os.fsencode
    environment = _own() if given is None else {encode(name): encode(value) for name, value in given.items()}
    theirs = environment.get(b"TRACEPARENT")
    if theirs is not None and os.fsdecode(theirs) != agent.program.given:
        return None  # the program traces its children itself
    for name in _NAMES:
        environment.pop(name, None)
    context = parent[0].encode()
    environment[b"TRACEPARENT"] = environment[TAKEN.encode()] = context
    if parent[1]:
        environment[b"TRACESTATE"] = parent[1].encode()
    return environment


def _own() -> dict[bytes, bytes]:
    """The environment that a child would inherit: that of C, which ``os.environ`` may differ from.

    A module has a copy of it from the moment that it is made; so one is made (0.2 ms) and thrown away.
    """
    create = getattr(posix, "_create_environ", None)  # from Python 3.14 on
    if create is None:
        import _imp

        fresh: Any = _imp.create_builtin(posix.__spec__)
        _imp.exec_builtin(fresh)
        return dict(fresh.environ)
    return dict(create())


def give_back() -> None:
    """Have what this process starts be started as without us (``APM_RUN_CHILDREN=0``)."""
    environ = os.environ
    package = os.path.dirname(os.path.abspath(__file__))
    ours = {os.path.join(package, "_bootstrap"), os.path.join(os.path.dirname(os.path.dirname(package)), "bootstrap")}
    items = environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = [item for item in items if not item or os.path.abspath(item) not in ours]
    environ.pop("APM_RUN_LAUNCHED", None)
    if kept != items:
        environ["PYTHONPATH"] = os.pathsep.join(kept)
        if not kept:
            del environ["PYTHONPATH"]


# multiprocessing: its own way to tell a child what it is to know


def _asking(agent: Agent, original: Callable[..., Any]) -> Callable[..., Any]:
    from apm_run.instrument.wrap import dressed, hide_frame

    def asking(*args: Any, **kwargs: Any) -> Any:
        try:
            data = original(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        try:
            data[_KEY] = parent_of_child(agent)
        except Exception:
            failed("multiprocessing.spawn")
        return data

    return dressed(asking, original)


def _preparing(agent: Agent) -> Callable[[tuple[Any, ...], dict[str, Any]], None]:
    def preparing(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            data = args[0] if args else kwargs["data"]
            if _KEY in data:
                agent.adopt(data[_KEY])
        except Exception:
            failed("multiprocessing.spawn")

    return preparing


def _serving(agent: Agent) -> Callable[[tuple[Any, ...], dict[str, Any]], None]:
    def serving(*_: Any) -> None:
        agent.program.serves = True

    return serving
