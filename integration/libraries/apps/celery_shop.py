"""Tasks of all kinds; where the broker is comes from the environment."""

import logging
import os
import sys
import time

from celery import Celery
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

app = Celery("shop", broker=os.environ["BROKER"], backend=os.environ.get("BACKEND"))
app.conf.broker_connection_retry_on_startup = True
for name, value in os.environ.items():
    if name.startswith("CONF_"):
        app.conf[name[5:].lower()] = eval(value)


class Order(Exception):
    """An exception that pickle can not make again."""

    def __init__(self, number, why):
        super().__init__(f"order {number}: {why}")
        self.number = number
        self.hold = lambda: why


class Counting(app.Task):
    """A custom task class, whose ``__call__`` is its own."""

    calls = 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return super().__call__(*args, **kwargs)


@app.task
def add(x, y):
    return x + y


@app.task(base=Counting)
def counted():
    return counted.calls


@app.task(bind=True)
def seen(self):
    request = self.request
    return [request.headers, sorted(key for key in request.__dict__ if "trace" in key or "elastic" in key), request.id]


@app.task
def fail(text):
    raise ValueError(text)


@app.task
def unpicklable():
    raise Order(7, "sold out")


@app.task(bind=True, max_retries=1)
def again(self):
    if not self.request.retries:
        raise self.retry(exc=KeyError("first"), countdown=0)
    return "second"


@app.task(autoretry_for=(KeyError,), max_retries=1, default_retry_delay=0)
def auto():
    raise KeyError("always")


@app.task
def ignored():
    raise Ignore


@app.task
def rejected():
    raise Reject("no", requeue=False)


@app.task(throws=(LookupError,))
def expected():
    raise LookupError("expected")


@app.task(soft_time_limit=1)
def slow():
    time.sleep(30)


@app.task(time_limit=2)
def stuck():
    time.sleep(30)


@app.task(soft_time_limit=1)
def in_time():
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        return "in time"


@app.task
def parent(n):
    add.delay(n, n)
    return n


@app.task
def logging_error():
    logging.getLogger("shop").error("out of stock")


@app.task
def leave():
    os._exit(3)


@app.task(ignore_result=True)
def forgotten():
    return "nobody asks"


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def within(n):
    """Run another task at once, in the middle of this one."""
    return [add.apply((n, n)).result, fail.apply(("within",)).state]


@app.task
def nap(seconds):
    time.sleep(seconds)
    return "rested"


def unreachable():
    """What sending raises, and from which lines."""
    try:
        add.apply_async((1, 2), retry=False)
    except Exception as error:
        lines, trace = [], error.__traceback__
        while trace is not None:
            name = trace.tb_frame.f_code.co_name
            if name != "wrapper" or sys.version_info >= (3, 11):  # before, our frames show
                lines.append(name)
            trace = trace.tb_next
        return type(error).__module__, type(error).__name__, str(error), lines
