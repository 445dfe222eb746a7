"""Errors that programs tell of: in their log, by the ends of threads and tasks (spec 8). What they print is as bare."""

from __future__ import annotations

import re
import sys

import pytest
from tests.traced import bare, traced


def both(tmp_path, source, sink, **env):
    """Run a program bare and traced: the same output but for addresses; the errors it made, oldest first."""
    script = tmp_path / "prog.py"
    script.write_text(source)
    env["APM_RUN_STATE_DIR"] = str(tmp_path / "state")
    expected, found = bare("python", script, env=env), traced("python", script, url=sink.url, env=env)

    def stable(text):
        return re.sub(r"0x[0-9a-f]+|Thread-\d+|\d{10,}", "...", text)

    assert found.returncode == expected.returncode
    assert (stable(found.stdout), stable(found.stderr)) == (stable(expected.stdout), stable(expected.stderr))
    sink.wait_idle()
    return sorted(sink.errors, key=lambda event: event["timestamp"])


LOGGING = """
import logging, sys
log = logging.getLogger("shop")
def pay(amount):
    secret = "gem" * 1
    raise ValueError("no money")
try:
    pay(7)
except ValueError:
    log.exception("payment of %d", 7)
log.error("plain %s", "text")
log.warning("no error")
"""


def test_a_program_that_only_logs(tmp_path, sink):
    """Nothing of it is instrumented but its log: logger.exception and level ERROR are error events."""
    first, second = both(tmp_path, LOGGING, sink)
    assert first["log"] == {
        "message": "payment of 7",
        "param_message": "payment of %d",
        "level": "error",
        "logger_name": "shop",
    }
    assert first["exception"]["handled"] is True
    assert first["exception"]["stacktrace"][0]["vars"] == {"amount": 7, "secret": "[REDACTED]"}
    assert first["culprit"] == "__main__.pay"
    assert second["log"]["message"] == "plain text"
    assert second["log"]["stacktrace"][0]["function"] == "<module>"
    (transaction,) = sink.transactions
    assert (transaction["outcome"], transaction["result"]) == ("failure", "success")  # spec 12: an error was reported
    assert {event["parent_id"] for event in (first, second)} == {transaction["id"]}


@pytest.mark.parametrize("option", ["DISABLE_INSTRUMENTATIONS", "INSTRUMENT", "ENABLED", "RECORDING"])
def test_an_option_turns_it_off(tmp_path, sink, option):
    value = "logging" if option == "DISABLE_INSTRUMENTATIONS" else "false"
    assert both(tmp_path, LOGGING, sink, **{f"ELASTIC_APM_{option}": value}) == []


def test_formats_handlers_and_levels_are_untouched(tmp_path, sink):
    source = """
import logging, logging.config, sys
logging.config.dictConfig({
    "version": 1,
    "formatters": {"all": {"format": "%(levelname)s %(name)s %(filename)s:%(lineno)d %(funcName)s %(message)s"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "all"}},
    "root": {"handlers": ["out"], "level": "ERROR"},
})
def work():
    logging.error("here %s", 1, stack_info=True)
    logging.getLogger("a").info("dropped")
work()
print(logging.root.handlers, logging.root.level, logging.getLogRecordFactory(), logging.getLoggerClass())
print(logging.Logger.callHandlers.__qualname__, logging.Logger.manager.loggerDict.keys())
"""
    (event,) = both(tmp_path, source, sink)
    assert event["log"]["param_message"] == "here %s"
    assert event["culprit"] == "__main__.work"


def test_a_logged_exception_that_ends_the_program_is_one_error(tmp_path, sink):
    """Spec 8: once, and in the end nobody has handled it."""
    source = """
import logging
try:
    raise KeyError("x")
except KeyError:
    logging.exception("going down")
    raise
"""
    (event,) = both(tmp_path, source, sink)
    assert event["log"]["message"] == "going down"
    assert event["exception"]["handled"] is False


THREADS = """
import threading, time
def fall():
    raise ValueError("in a thread")
thread = threading.Thread(target=fall, name="worker")
thread.start()
thread.join()
threading.excepthook = lambda args: print("hook", args.exc_type.__name__, args.thread.name)
thread = threading.Thread(target=fall, name="hooked")
thread.start()
thread.join()
thread = threading.Thread(target=exit)
thread.start()
thread.join()
"""


def test_what_ends_a_thread(tmp_path, sink):
    """Spec 8: uncaught in a thread; what it prints and the program's own hook are as bare."""
    first, second = both(tmp_path, THREADS, sink)
    for event in (first, second):
        assert (event["exception"]["type"], event["exception"]["handled"]) == ("ValueError", False)
        assert event["culprit"] == "__main__.fall"
    assert sink.transactions[0]["outcome"] == "failure"


TASKS = """
import asyncio, gc
async def bad():
    raise ValueError("never retrieved")
async def main():
    task = asyncio.create_task(bad())
    await asyncio.wait([task])
    del task
    gc.collect()
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    cancelled = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0.01)
    {more}
asyncio.run(main())
"""
HANDLER = "asyncio.get_running_loop().set_exception_handler(lambda loop, context: print(sorted(context)))"


@pytest.mark.parametrize("handler", ["", HANDLER])
def test_what_nobody_asks_of_a_task(tmp_path, sink, handler):
    """Spec 8: never retrieved exceptions, as the loop's handler is told; logged by it, they are the same error."""
    source = TASKS.replace("async def main():\n", f"async def main():\n    {handler}\n").format(more="pass")
    first, second = both(tmp_path, source, sink)
    assert [event["exception"]["type"] for event in (first, second)] == ["ValueError", "ZeroDivisionError"]
    assert [event["exception"]["handled"] for event in (first, second)] == [False, False]


def test_the_log_of_a_forked_child(tmp_path, sink):
    source = """
import logging, os, sys
logging.error("parent")
child = os.fork()
if not child:
    logging.error("child")
    sys.exit()
os.waitpid(child, 0)
"""
    assert sorted(event["log"]["message"] for event in both(tmp_path, source, sink)) == ["child", "parent"]


def test_a_lazy_argument_is_formatted_by_the_programs_handlers_only(tmp_path, sink):
    source = """
import logging
class Lazy:
    def __str__(self):
        print("evaluated")
        return "lazy"
logging.getLogger("a").propagate = False
logging.getLogger("a").addHandler(logging.NullHandler())
logging.getLogger("a").error("%s", Lazy())
logging.error("%s", Lazy())
"""
    first, second = both(tmp_path, source, sink)
    assert (first["log"]["message"], second["log"]["message"]) == ("%s", "lazy")


def test_what_a_repr_may_do(tmp_path, sink):
    """Spec 9: a repr that raises, blocks, recurses or is huge costs nothing and breaks nothing."""
    source = """
import sys, threading, time
class Raising:
    def __repr__(self): raise SystemExit(9)
class Blocking:
    def __repr__(self): time.sleep(3600)
class Endless:
    def __repr__(self): return repr(self)
class Huge(list):
    def __repr__(self): return "x" * 10**9
    def __len__(self): return 10**9
def fall():
    a, b, c, d = Raising(), Blocking(), Endless(), Huge()
    e = [a, {"a": b}, (c, d)]
    e.append(e)
    raise ValueError("x")
fall()
"""
    (event,) = both(tmp_path, source, sink)
    frame = event["exception"]["stacktrace"][0]
    assert frame["vars"]["a"] == "<__main__.Raising>"
    assert frame["vars"]["d"] == []


def test_python_c_and_standard_input_are_the_programs_own(tmp_path, sink):
    env = {"APM_RUN_STATE_DIR": str(tmp_path / "state")}
    traced("python", "-c", "def f():\n x = 1\n raise KeyError\nf()", url=sink.url, env=env)
    traced("python", "-", url=sink.url, env=env, input="def f():\n x = 1\n raise KeyError\nf()\n")
    sink.wait(lambda events: len(events.errors) == 2)
    for event in sink.errors:
        assert event["exception"]["stacktrace"][0]["library_frame"] is False
        assert event["exception"]["stacktrace"][0]["vars"] == {"x": 1}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with Python 3.11")
def test_an_uncaught_group(tmp_path, sink):
    """Spec 8: exception groups are several causes."""
    source = "raise ExceptionGroup('g', [ValueError('a'), ExceptionGroup('h', [KeyError('b')])])\n"
    (event,) = both(tmp_path, source, sink)
    assert [cause["type"] for cause in event["exception"]["cause"]] == ["ValueError", "ExceptionGroup"]


SERVED = """
import logging, socket, sys, threading, time, urllib.error, urllib.request
{app}
def client(port):
    for path in ("/fall", "/logged"):
        try:
            print(urllib.request.urlopen(f"http://127.0.0.1:{{port}}{{path}}").status)
        except urllib.error.HTTPError as error:
            print(error.code)
{serve}
"""
FLASK = (
    """
import flask
app = flask.Flask("shop")
@app.get("/fall")
def fall():
    order = {"id": 1, "token": "gem"}
    raise AssertionError
@app.get("/logged")
def logged():
    try:
        raise KeyError("soft")
    except KeyError:
        app.logger.exception("handled %s", "softly")
    return "ok"
""",
    """
from werkzeug.serving import make_server
server = make_server("127.0.0.1", 0, app)
threading.Thread(target=server.serve_forever, daemon=True).start()
client(server.port)
server.shutdown()
""",
)
FASTAPI = (
    """
import fastapi, uvicorn
app = fastapi.FastAPI()
@app.get("/fall")
async def fall():
    order = {"id": 1, "token": "gem"}
    raise AssertionError
@app.get("/logged")
def logged():
    try:
        raise KeyError("soft")
    except KeyError:
        logging.exception("handled %s", "softly")
    return "ok"
""",
    """
sock = socket.socket()
sock.bind(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
def run():
    while not server.started:
        time.sleep(0.01)
    client(sock.getsockname()[1])
    server.should_exit = True
threading.Thread(target=run).start()
server.run(sockets=[sock])
""",
)


@pytest.mark.parametrize(("app", "serve"), [FLASK, FASTAPI], ids=["flask", "fastapi"])
def test_an_error_passes_many_layers_and_is_one(tmp_path, sink, app, serve):
    """Spec 8: the framework reports it, the server's side does, and both log it: one event, not handled by anybody."""
    script = tmp_path / "prog.py"
    script.write_text(SERVED.format(app=app, serve=serve))
    done = traced("python", script, url=sink.url, env={"APM_RUN_STATE_DIR": str(tmp_path / "state")})
    assert done.stdout == "500\n200\n", done.stderr
    assert done.stderr.count("\nAssertionError\n") == 1
    sink.wait(lambda events: len(events.transactions) == 2 and len(events.errors) == 2)
    fall, logged = sorted(sink.errors, key=lambda event: event["timestamp"])
    assert (fall["exception"]["type"], fall["exception"]["handled"]) == ("AssertionError", False)
    assert "log" not in fall
    assert fall["exception"]["stacktrace"][0]["vars"] == {"order": {"id": 1, "token": "[REDACTED]"}}
    assert fall["culprit"] == logged["culprit"].replace("logged", "fall")
    assert (logged["exception"]["type"], logged["exception"]["handled"]) == ("KeyError", True)
    assert logged["log"]["param_message"] == "handled %s"
    assert [logged["transaction"]["name"], fall["transaction"]["name"]] == ["GET /logged", "GET /fall"]
    outcomes = {item["name"]: item["outcome"] for item in sink.transactions}
    assert outcomes == {"GET /fall": "failure", "GET /logged": "success"}  # spec 12: the status before the error
