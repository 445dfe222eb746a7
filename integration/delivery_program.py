"""The program that is traced: it serves requests in some way and notes each in a file, by itself, when it has ended.

``delivery_program.py NOTES steady RATE SECONDS | flood | errors NUMBER SECONDS | forks NUMBER | crowd NUMBER EACH |
noise NUMBER``. A line of the notes: the request's path, when it ended (seconds of the monotonic clock), how long it
took (microseconds), the parent's pid.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from tests.launch.ending import application, request

NOTES = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def serve(number: int, application=application, query: str = "") -> None:
    begun = time.perf_counter()
    request(number, application, query)
    took = time.perf_counter() - begun
    line = f"/{os.getpid()}/{number} {time.monotonic():.6f} {took * 1e6:.1f} {os.getppid()}\n"
    os.write(NOTES, line.encode())


def steady(rate: str, seconds: str) -> None:
    """So many requests a second."""
    begun = time.monotonic()
    for number in range(int(float(rate) * float(seconds))):
        serve(number)
        time.sleep(max(0.0, begun + (number + 1) / float(rate) - time.monotonic()))


def flood() -> None:
    """Without pause, until somebody ends it."""
    number = 0
    while True:
        serve(number)
        number += 1


def failing(environ, start_response):
    raise ValueError("no such thing")


def errors(number: str, seconds: str) -> None:
    """Requests that fail, within so many seconds; then the end."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  wsgiref prints the traceback
    begun = time.monotonic()
    for index in range(int(number)):
        serve(index, failing)
        time.sleep(max(0.0, begun + (index + 1) * float(seconds) / int(number) - time.monotonic()))


def plain(environ, start_response):
    """Without SQLite, whose own locks a child may find taken: with them the bare program hangs in 1 of 60 forks."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


def forks(number: str) -> None:
    """Children that serve one request each, while four threads serve theirs; prints how many of them hung."""
    ended = threading.Event()

    def busy(first: int) -> None:
        index = first
        while not ended.is_set():
            serve(index, plain)
            index += 1
            time.sleep(0.002)

    threads = [threading.Thread(target=busy, args=(thread * 1_000_000,)) for thread in range(1, 5)]
    for thread in threads:
        thread.start()
    hung = sum(_hangs(index) for index in range(int(number)))
    ended.set()
    for thread in threads:
        thread.join()
    print(hung)


def _hangs(index: int) -> bool:
    child = os.fork()
    if not child:
        serve(index, plain)
        if index % 2:
            os._exit(0)
        sys.exit(0)
    deadline = time.monotonic() + 20
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return True
        time.sleep(0.001)
    return False


def noise(number: str) -> None:
    """So many requests that hardly can be compressed, at once."""
    for index in range(int(number)):
        serve(index, query=os.urandom(500).hex())


def crowd(number: str, each: str) -> None:
    """As many workers as that, of so many requests each; then they wait, as idle workers do."""
    serve(0)
    for _ in range(int(number)):
        if not os.fork():
            for index in range(int(each)):
                serve(index)
            signal.pause()
    signal.pause()


if __name__ == "__main__":
    {"steady": steady, "flood": flood, "errors": errors, "forks": forks, "crowd": crowd, "noise": noise}[sys.argv[2]](
        *sys.argv[3:]
    )
