"""Jobs of all kinds."""

import asyncio
import json
import logging
import os
import signal
import sys
import time

from redis import Redis
from rq import Queue, get_current_job

try:
    from rq import Retry
except ImportError:
    Retry = None

connection = Redis(port=int(os.environ["REDIS_PORT"]), db=int(os.environ["REDIS_DB"]))
queue = Queue(connection=connection)


class Order(Exception):
    def __init__(self, number, why):
        super().__init__(f"order {number}: {why}")


def add(x, y):
    return x + y


async def later(x):
    await asyncio.sleep(0)
    return x


class Shop:
    def open(self):
        return "open"


def seen():
    """Leave what a job sees of itself, and does to it."""
    job = get_current_job()
    job.meta["more"] = 2
    job.save_meta()
    job.save()
    again = job.fetch(job.id, connection=connection)
    connection.set("shown", json.dumps([again.meta, sorted(again.kwargs), again.args]))


def fail(text):
    raise Order(7, text)


def again():
    if get_current_job().retries_left:
        raise KeyError("first")
    return "second"


def returned():
    job = get_current_job()
    return Retry(max=1) if job.number_of_retries in (None, 0) else "second"


def slow():
    connection.set("horse", os.getpid())
    time.sleep(30)


def parent(n):
    return queue.enqueue(add, n, n).id


def logging_error():
    logging.getLogger("shop").error("out of stock")


def leave():
    os._exit(3)


def succeeded(job, connection, result, *args, **kwargs):
    connection.set("succeeded", result)


def failed(job, connection, type, value, traceback):
    connection.set("failed", str(value))


def quit():
    raise SystemExit(3)


def nap(seconds):
    time.sleep(seconds)


class Shown:
    """What ``rq_send.py`` prints instead of a job."""

    def __init__(self, *words):
        self.words = words


def called():
    return Shown(connection.get("succeeded"), connection.get("failed"))


def shown():
    return Shown(json.loads(connection.get("shown")))


def killed():
    """Enqueue a job whose work horse is killed in the middle of it."""
    queue.enqueue(slow)
    while connection.get("horse") is None:
        time.sleep(0.05)
    time.sleep(2)
    os.kill(int(connection.get("horse")), signal.SIGKILL)
    return Shown("killed")


def unreachable():
    """What enqueueing raises, and from which lines."""
    try:
        queue.enqueue(add, 1, 2)
    except Exception as error:
        lines, trace = [], error.__traceback__
        while trace is not None:
            name = trace.tb_frame.f_code.co_name
            if name != "wrapper" or sys.version_info >= (3, 11):  # before, our frames show
                lines.append(name)
            trace = trace.tb_next
        return Shown((type(error).__module__, type(error).__name__, str(error), lines))
