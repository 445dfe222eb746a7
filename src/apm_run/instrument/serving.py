"""Where a server meets the application that it serves, by whichever way (:class:`vocabulary.Serve`)."""

from __future__ import annotations

from apm_run.guard import failed
from apm_run.instrument import wrap
from apm_run.instrument.place import Missing, replace, resolve
from apm_run.model import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from apm_run.instrument.vocabulary import Serve
    from apm_run.tracer import Tracer

_FUNCTION = type(failed)


def _application(target: Serve, app: Any, tracer: Tracer) -> Any:
    """What a server gets in the place of an application."""
    try:
        tracer.claim()
        return target.protocol.application(tracer, app, target.framework)
    except Exception:
        failed(f"{target.path}: application")
        return app


def calls(target: Serve, original: Callable[..., Any], tracer: Tracer, where: str) -> Callable[..., Any]:
    """The wrapper of a function that is an application's call, or that a server meets its application in."""
    protocol, framework = target.protocol, target.framework
    if target.argument is None and target.attribute is None and not target.result:
        method: Callable[..., Any] = protocol.method(tracer, original, framework)
        return method
    if wrap.kind(original):
        raise Missing("no plain function")

    def application(app: Any) -> Any:
        return _application(target, app, tracer)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if target.argument is not None:
            position, name = target.argument
            call = Call(original, args, kwargs)
            app = call.argument(position, name)
            if app is not None:
                args, kwargs = call.replaced(position, name, application(app))
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise
        if target.attribute is not None:
            try:
                setattr(args[0], target.attribute, application(getattr(args[0], target.attribute)))
            except Exception:
                failed(f"{where}: {target.attribute}")
        return application(result) if target.result else result

    return wrapper


def itself(target: Serve, module: ModuleType, attribute: str, tracer: Tracer) -> None:
    """An application that is looked up in the module: it is patched there, as the program uses it too.

    A function becomes a function, an instance's class gets another call.
    """
    holder, name, app = resolve(module, attribute)
    if isinstance(app, type):
        raise Missing(f"{attribute} is a class")
    if isinstance(app, _FUNCTION):
        setattr(holder, name, wrap.dressed(_function(_application(target, app, tracer)), app))
    elif isinstance(resolve(module, f"{attribute}.__class__.__call__")[2], _FUNCTION):
        tracer.claim()
        made = target.protocol.method
        replace(
            module,
            f"{attribute}.__class__.__call__",
            lambda original: wrap.dressed(made(tracer, original, target.framework), original),
        )
    else:
        setattr(holder, name, _application(target, app, tracer))


def _function(application: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return application(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise

    return wrapper


def event(target: Serve, module: ModuleType, attribute: str, tracer: Tracer) -> None:
    """An application that the server shows to those who have subscribed, before it calls it."""
    kind, item = target.event or ("", "")

    def started(name: str, **facts: Any) -> dict[str, Any] | None:
        app = facts.get(item) if name == kind else None
        return None if app is None else {item: _application(target, app, tracer)}

    resolve(module, attribute)[2](started)
    tracer.claim()
