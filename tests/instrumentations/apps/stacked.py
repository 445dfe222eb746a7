"""Layers on layers: an ASGI middleware, FastAPI, an application mounted in it, and Flask below that."""

import warnings

from fastapi import FastAPI
from flask_shop import app as flask_app

warnings.simplefilter("ignore")
from starlette.middleware.wsgi import WSGIMiddleware  # noqa: E402

inner = FastAPI()
inner.mount("/flask", WSGIMiddleware(flask_app))
outer = FastAPI()
outer.mount("/v/{version}", inner)


async def app(scope, receive, send):
    """A middleware that catches what comes out of the framework."""
    try:
        await outer(scope, receive, send)
    except ZeroDivisionError:
        pass


async def only_raw(scope, receive, send):
    """No framework at all, and no lifespan."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"raw"})


def double(scope):
    """An application of ASGI 2."""

    async def instance(receive, send):
        await only_raw(scope, receive, send)

    return instance


def factory():
    return only_raw
