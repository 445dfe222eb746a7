"""A Flask application that says of its requests what it likes, at different moments."""

from __future__ import annotations

import sqlite3

from flask import Flask, abort

import apm_run

app = Flask(__name__)


@app.before_request
def early() -> None:
    from flask import request

    if "early" in request.args:
        say()


@app.after_request
def late(response):
    from flask import request

    if "late" in request.args:
        say()
    return response


def say() -> None:
    transaction = apm_run.current_transaction()
    transaction.name, transaction.type = "checkout", "shop"
    transaction.result, transaction.outcome = "sold out", "success"
    transaction.set_user("42")
    transaction.set_label("tenant", "acme")


@app.get("/items/<int:number>")
def item(number: int) -> str:
    if number == 0:
        abort(500)
    return "an item"


@app.get("/work")
def work() -> str:
    with apm_run.start_transaction("job", "job") as job:
        connection = sqlite3.connect(":memory:")
        connection.execute("SELECT 1")
    with apm_run.start_span("part", "app"):
        connection.execute("SELECT 2")
    connection.close()
    return f"{job.trace_id} {apm_run.current_transaction().trace_id}"


@app.get("/stream")
def stream():
    @apm_run.start_span("rows", "app")
    def rows():
        yield "a"
        yield "b"

    return app.response_class(rows(), mimetype="text/plain")
