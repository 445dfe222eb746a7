"""wsgiref's server on a free port: python serve_wsgiref.py MODULE:ATTRIBUTE [threads]."""

import importlib
import socketserver
import sys
from wsgiref.simple_server import WSGIServer, make_server


class Threads(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


module, _, attribute = sys.argv[1].partition(":")
app = getattr(importlib.import_module(module), attribute)
server = make_server("127.0.0.1", 0, app, server_class=Threads if "threads" in sys.argv else WSGIServer)
print(f"serving on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
