"""Jobs of all kinds."""

import asyncio
import logging
import os
import time

from redis import Redis
from rq import Queue, get_current_job

try:
    from rq import Retry
except ImportError:
    Retry = None

connection = Redis(port=int(os.environ["REDIS_PORT"]))
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
    job = get_current_job()
    return [job.meta, sorted(job.kwargs), job.args]


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
