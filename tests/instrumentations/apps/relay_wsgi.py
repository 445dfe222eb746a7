"""A plain WSGI application that asks the URL in its query, and fails without one."""

import urllib.request


def app(environ, start_response):
    with urllib.request.urlopen(environ["QUERY_STRING"]) as response:
        body = response.read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
