"""What the programs of greenlets are put together from: the same words for gevent and eventlet."""

from __future__ import annotations

FIFTY = 50
#: Where a handler asks from.
PLACES = ("handler", "spawn", "pool", "later", "raw", "native", "thread")

PATCH = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}

#: The same words for both libraries.
WORDS = {
    "gevent": """\
import gevent, gevent.pool, gevent.pywsgi, gevent.event
from gevent import socket as green, spawn, spawn_later as later, sleep, Timeout
pool = gevent.pool.Pool(20)
def result(started):
    return started.get()
def raw(work, *args):
    done = gevent.event.AsyncResult()
    gevent.spawn_raw(lambda: done.set(work(*args)))
    return done
def native(work, *args):
    return gevent.get_hub().threadpool.spawn(work, *args)
def hub():
    return gevent.get_hub()
def serve(app):
    server = gevent.pywsgi.WSGIServer(("127.0.0.1", 0), app, log=None)
    server.start()
    return server.server_port, server.stop
""",
    "eventlet": """\
import eventlet, eventlet.event, eventlet.tpool, eventlet.wsgi
from eventlet import spawn, spawn_after as later, sleep, Timeout
from eventlet.green import socket as green
pool = eventlet.GreenPool(20)
def result(started):
    return started.wait()
def raw(work, *args):
    done = eventlet.event.Event()
    eventlet.spawn_n(lambda: done.send(work(*args)))
    return done
def native(work, *args):
    return spawn(eventlet.tpool.execute, work, *args)
def hub():
    return eventlet.hubs.get_hub().greenlet
def serve(app):
    listener = eventlet.listen(("127.0.0.1", 0))
    running = spawn(eventlet.wsgi.server, listener, app, log_output=False)
    return listener.getsockname()[1], running.kill
""",
}

CLIENTS = {
    "http.client": """\
def get(path):
    connection = http.client.HTTPSConnection("127.0.0.1", PORT, context=context)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
""",
    "urllib.request": """\
def get(path):
    with urllib.request.urlopen(URL + path, context=context) as answer:
        return answer.read()
""",
    "requests": """\
def get(path):
    return requests.get(URL + path, verify=CA).content
""",
    "urllib3": """\
def get(path):
    with urllib3.PoolManager(ca_certs=CA) as manager:
        return manager.request("GET", URL + path).data
""",
    "httpx": """\
def get(path):
    return httpx.get(URL + path, verify=context).content
""",
}

#: What every program begins with, after what it is patched by.
HEAD = """\
import gc, http.client, os, signal, ssl, sys, threading, time, urllib.request
import flask, greenlet, httpx, requests, urllib3
{late}
{words}
CA, PORT = os.environ["UPSTREAM_CA"], int(os.environ["UPSTREAM_PORT"])
URL = f"https://127.0.0.1:{{PORT}}"
context = ssl.create_default_context(cafile=CA)
{client}
def fetch(path):
    try:
        return get(path).decode()
    except Exception as error:
        return type(error).__name__
def ask(port, number):
    with green.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET /{{number}} HTTP/1.0\\r\\n\\r\\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer.rpartition(b"\\r\\n")[2].decode()
def living():
    gc.collect()
    found = [item for item in gc.get_objects() if isinstance(item, greenlet.greenlet)]
    return sum(item.parent is hub() and not item.dead for item in found)
def polling():
    found = [f"/proc/self/fd/{{name}}" for name in os.listdir("/proc/self/fd")]
    return sum(os.path.islink(path) and "eventpoll" in os.readlink(path) for path in found)
"""

HANDLER = """\
def handler(environ, start_response):
    number = environ["PATH_INFO"][1:]
    sleep(int(number) % 7 / 100)
    thread = threading.Thread(target=fetch, args=(f"/{number}/thread",))
    thread.start()
    started = [
        spawn(fetch, f"/{number}/spawn"),
        pool.spawn(fetch, f"/{number}/pool"),
        later(0.01, fetch, f"/{number}/later"),
        raw(fetch, f"/{number}/raw"),
        native(fetch, f"/{number}/native"),
    ]
    sleep(int(number) % 5 / 100)
    answers = [fetch(f"/{number}/handler"), *map(result, started)]
    thread.join()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(answers).encode()]
"""

FIFTY_AT_ONCE = f"""\
port, stop = serve(handler)
asking = [spawn(ask, port, number) for number in range({FIFTY})]
for asked in asking:
    print(result(asked))
stop()
sleep(0.1)
print(living(), threading.active_count())
"""

KILLED = f"""\
def handler(environ, start_response):
    number = environ["PATH_INFO"][1:]
    try:
        with Timeout(0.3):
            get(f"/{{number}}/slow")
    except Timeout as error:
        told = type(error).__name__
    killed = spawn(fetch, f"/{{number}}/killed/slow")
    sleep(0.3)
    killed.kill()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{{told}} {{fetch(f'/{{number}}/handler')}}".encode()]
{FIFTY_AT_ONCE}"""

#: A greenlet that fails: what is written names its function, and has no frame that is not the program's.
FAILED = """\
def fail(number):
    raise ValueError(number)
def handler(environ, start_response):
    number = environ["PATH_INFO"][1:]
    started = spawn(fail, number), pool.spawn(fail, number), later(0, fail, number), raw(fail, number)
    threading.Thread(target=fail, args=(number,), name="failing").start()
    sleep(0.05)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [fetch(f"/{number}/handler").encode()]
port, stop = serve(handler)
print(ask(port, 0), living())
"""

PLAIN = """\
def handler(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [fetch(environ["PATH_INFO"] + "/handler").encode()]
port, stop = serve(handler)
"""
ASK = "for number in range({}):\n    print(ask(port, number), flush=True)\n"

#: A server of ours that does not answer: nobody waits for it but the agent's thread.
HANGING = f"""\
{PLAIN}
longest = 0
def beat():
    global longest
    last = time.monotonic()
    while True:
        sleep(0.01)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
beating = spawn(beat)
{ASK.format(10)}
sleep(3)
beating.kill()
print("late" if longest > 1 else "in time", living(), polling(), threading.active_count())
"""

#: What is done after ten requests.
ENDS = {
    "return": "spawn(sleep, 60)\n",
    "sys.exit(3)": "spawn(sleep, 60)\nsys.exit(3)\n",
    "uncaught exception": "raise ValueError('gone')\n",
    "sys.exit in a greenlet": "spawn(sys.exit, 4)\nsleep(1)\nprint('here')\n",
    "os._exit": "os._exit(5)\n",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)\nsleep(60)\n",
    "SIGTERM, handler with sys.exit": (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(6))\nos.kill(os.getpid(), signal.SIGTERM)\nsleep(60)\n"
    ),
    "SIGINT": "os.kill(os.getpid(), signal.SIGINT)\nsleep(60)\n",
    "fork": (
        "child = os.fork()\nif not child:\n    print(fetch('/10/child'), flush=True)\n    os._exit(0)\n"
        "print(os.waitpid(child, 0)[1])\n"
    ),
}
ONLY = {
    "gevent": {
        "SIGTERM, signal_handler": (
            "gevent.signal_handler(signal.SIGTERM, stop)\nos.kill(os.getpid(), signal.SIGTERM)\n"
            "gevent.get_hub().join()\nprint('joined')\n"
        ),
        "LoopExit": "stop()\nsleep(0.1)\ngevent.event.Event().wait()\n",
    },
    "eventlet": {},
}

#: The program of a server whose worker class patches.
GUNICORN = """\
import sys
from gunicorn.app.wsgiapp import run
sys.argv[1:] = "-b 127.0.0.1:0 --log-level critical -c conf.py -k {} application:handler".split()
run()
"""
CONF = f"""\
def post_worker_init(worker):
    import gevent, os, application
    def drive():
        port = worker.sockets[0].getsockname()[1]
        asking = [gevent.spawn(application.ask, port, number) for number in range({FIFTY})]
        for asked in asking:
            print(asked.get(), flush=True)
        os.kill(worker.ppid, 15)
    gevent.spawn(drive)
"""
