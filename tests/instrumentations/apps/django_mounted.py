"""Django below Starlette, by either protocol."""

import warnings

from django_shop.asgi import application as shop
from django_shop.wsgi import application as wsgi_shop
from starlette.applications import Starlette
from starlette.routing import Mount

warnings.simplefilter("ignore")
from starlette.middleware.wsgi import WSGIMiddleware  # noqa: E402

app = Starlette(routes=[Mount("/shops/{shop}", shop), Mount("/wsgi", WSGIMiddleware(wsgi_shop))])
