"""A Flask application with everything that the tests ask for; spans come from sqlite3."""

import sqlite3
import time

from flask import Blueprint, Flask, Response, abort, redirect, render_template, request, send_file, stream_with_context
from jinja2 import DictLoader

app = Flask(__name__)
app.jinja_loader = DictLoader({"page.html": "{% include 'part.html' %}{{ url_for('moved') }}", "part.html": "<p>"})
admin = Blueprint("admin", __name__, url_prefix="/admin")


def query(value):
    with sqlite3.connect(":memory:") as connection:
        return connection.execute(f"SELECT {value} FROM sqlite_master").fetchall()


@app.route("/items/<int:id>", methods=["GET", "PUT"])
def item(id):
    query(id)
    return {"id": id}


@admin.route("/users/<name>")
def user(name):
    return f"user {name}"


app.register_blueprint(admin)


@app.route("/forbidden")
def forbidden():
    abort(403)


@app.route("/handled")
def handled():
    raise LookupError("dealt with")


@app.errorhandler(LookupError)
def conflict(error):
    return str(error), 409


@app.route("/boom/<int:id>")
def boom(id):
    raise ZeroDivisionError(f"boom {id}")


@app.route("/moved")
def moved():
    return redirect("/items/1")


@app.route("/stream/<int:count>")
def stream(count):
    def pieces():
        for number in range(count):
            query(number)
            yield f"{number};"

    return Response(stream_with_context(pieces()), mimetype="text/plain")


@app.route("/broken")
def broken():
    def pieces():
        yield "x" * 10_000
        raise OverflowError("in the middle")

    return Response(pieces(), mimetype="text/plain")


@app.route("/endless")
def endless():
    def pieces():
        try:
            while True:
                yield b"x" * 65536
                time.sleep(0.001)
        finally:
            query(404)

    return Response(pieces(), mimetype="application/octet-stream")


@app.route("/page")
def page():
    return render_template("page.html")


@app.route("/pieces")
def pieces():
    made = app.jinja_env.get_template("page.html")
    return Response(stream_with_context(made.generate(url_for=str)), mimetype="text/plain")


@app.route("/upload", methods=["POST"])
def upload():
    return f"{len(request.get_data())} bytes"


@app.route("/file")
def file():
    return send_file(__file__, mimetype="text/x-python", etag=False, last_modified=0)


@app.route("/work/<int:number>")
def work(number):
    query(number)
    time.sleep(0.02)
    query(number)
    return str(number)


@app.route("/health")
def health():
    query(1)
    return "well"


@app.route("/health/broken")
def unwell():
    raise RuntimeError("not well")


@app.route("/headers")
def headers():
    response = Response("with cookies")
    response.headers.add("Set-Cookie", "session=secret1")
    response.headers.add("Set-Cookie", "other=secret2")
    response.headers.add("X-Twice", "one")
    response.headers.add("X-Twice", "two")
    response.headers.add("X-Auth-Token", "secret3")
    return response
