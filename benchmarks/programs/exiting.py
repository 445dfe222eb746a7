"""One request, and then the end: prints the time of its last line."""

from __future__ import annotations

import time

from flask import Flask

app = Flask("bench")
app.add_url_rule("/", view_func=lambda: "hello")
app.test_client().get("/")
print(time.time(), flush=True)
