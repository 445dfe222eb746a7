"""Werkzeug's server on a free port: python serve_werkzeug.py MODULE:ATTRIBUTE [debug]."""

import importlib
import sys

from werkzeug.serving import run_simple

module, _, attribute = sys.argv[1].partition(":")
app = getattr(importlib.import_module(module), attribute)
debug = "debug" in sys.argv
run_simple("127.0.0.1", 0, app, use_debugger=debug, use_reloader=debug, threaded=True)
