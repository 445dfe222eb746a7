"""A Flask application that is told secrets."""

import secrets_elsewhere
from flask import Flask, Response, request

app = Flask(__name__)


@app.route("/take/<kind>", methods=["POST"])
def take(kind):
    if kind == "json":
        size = len(request.get_json())
    else:
        size = len(request.form) + sum(len(file.read()) for file in request.files.values())
    secrets_elsewhere.elsewhere()
    if "fail" in request.args:
        secrets_elsewhere.fail()
    return Response(str(size), headers=secrets_elsewhere.answered())


@app.route("/lines", methods=["POST"])
def lines():
    return str(sum(1 for _ in request.stream))


@app.route("/ignore", methods=["POST"])
def ignore():
    return "not read"


@app.route("/part", methods=["POST"])
def part():
    return request.stream.read(5)


@app.route("/pass", methods=["POST"])
def passed():
    """What comes in goes out, piece by piece."""
    stream = request.stream
    return Response(iter(lambda: stream.read(65_536), b""), mimetype="text/plain")


@app.route("/who")
def who():
    return request.remote_addr


@app.route("/memory", methods=["POST"])
def memory():
    """Bytes that the process has needed at most, after all of the body was read."""
    import resource

    while request.stream.read(1 << 20):
        pass
    return str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
