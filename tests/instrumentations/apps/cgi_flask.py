"""Flask as a CGI program: one process for each request."""

from wsgiref.handlers import CGIHandler

from flask_shop import app

CGIHandler().run(app)
