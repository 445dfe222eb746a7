"""threading and concurrent.futures: the current span goes where the work goes, and nothing else does."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import os
import subprocess
import sys
import threading
import traceback
import weakref
from pathlib import Path

import pytest
from tests.instrumentations.recorder import instrumented

from apm_run.tracer import current

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def recorder():
    with instrumented("threading", "concurrent_futures") as recorder:
        yield recorder


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        yield pool


class Running(threading.Thread):
    """A thread whose run is its own."""

    def run(self):
        self.found = current.get()


def in_thread(thread):
    thread.start()
    thread.join()


def test_one_of_the_two_ways_to_start_is_there(recorder):
    assert "wrapped" in {why for path, why in recorder.results.items() if path.startswith("threading:")}


def test_threads_of_every_kind(recorder):
    found = []
    with recorder.running() as transaction:
        in_thread(threading.Thread(target=lambda: found.append(current.get())))
        in_thread(
            threading.Thread(target=lambda *a, **k: found.append((current.get(), a, k)), args=(1,), kwargs={"b": 2})
        )
        timer = threading.Timer(0, lambda: found.append(current.get()))
        in_thread(timer)
        own = Running(daemon=True)
        in_thread(own)
        assert current.get() is transaction
    assert found == [transaction, (transaction, (1,), {"b": 2}), transaction]
    assert own.found is transaction


def test_a_thread_in_a_thread(recorder):
    found = []
    with recorder.running() as transaction:
        inner = threading.Thread(target=lambda: found.append(current.get()))
        in_thread(threading.Thread(target=in_thread, args=(inner,)))
    assert found == [transaction]


def test_a_thread_outside_of_a_transaction(recorder):
    own = Running()
    in_thread(own)
    assert own.found is None


def test_nothing_else_of_the_context_goes_along(recorder, pool):
    variable = contextvars.ContextVar("variable", default="unset")
    found = []
    with recorder.running():
        variable.set("set")
        in_thread(threading.Thread(target=lambda: found.append((variable.get(), len(contextvars.copy_context())))))
        assert pool.submit(variable.get).result() == "unset"
    assert found == [("unset", 1)]


def test_a_pool(recorder, pool):
    with recorder.running() as transaction:
        assert pool.submit(current.get).result() is transaction
        assert list(pool.map(lambda _: current.get(), range(3))) == [transaction] * 3
        assert pool.submit(lambda *a, **k: (a, k), 1, b=2).result() == ((1,), {"b": 2})
        assert current.get() is transaction
    # The worker was started inside of the transaction, and has nothing of it now.
    assert pool.submit(current.get).result() is None
    with recorder.running("other") as other:
        assert pool.submit(current.get).result() is other


def test_what_the_worker_itself_starts_with_is_nobodys(recorder):
    found = []
    with (
        recorder.running() as transaction,
        concurrent.futures.ThreadPoolExecutor(1, initializer=lambda: found.append(current.get())) as pool,
    ):
        assert pool.submit(current.get).result() is transaction
    assert found == [None]


def test_callbacks_of_a_future(recorder, pool):
    found = []
    ready = threading.Event()
    with recorder.running():
        future = pool.submit(ready.wait)
        future.add_done_callback(lambda _: found.append(current.get()))
        ready.set()
        future.result()
    pool.shutdown()
    assert found == [None]


def test_event_loops(recorder):
    async def main():
        loop = asyncio.get_running_loop()
        found = [await loop.run_in_executor(None, current.get)]
        if hasattr(asyncio, "to_thread"):
            found.append(await asyncio.to_thread(current.get))
        with recorder.running("inner") as inner:
            assert await loop.run_in_executor(None, current.get) is inner
        return found

    with recorder.running() as transaction:
        assert set(asyncio.run(main())) == {transaction}
    assert asyncio.run(main()) == [None, None]


def test_errors_pass_as_they_are(recorder, pool):
    error = ValueError("the program's own")

    def fail():
        raise error

    with recorder.running():
        with pytest.raises(ValueError, match="own") as caught:
            pool.submit(fail).result()
        assert caught.value is error
        if sys.version_info >= (3, 11):
            names = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
            assert not any("apm_run" in name for name in names)
        for broken in (lambda: pool.submit(), lambda: concurrent.futures.ThreadPoolExecutor.submit()):
            with pytest.raises(TypeError, match=r"missing|at least"):
                broken()
        assert isinstance(pool.submit(None).exception(), TypeError)
        pool.shutdown()
        with pytest.raises(RuntimeError, match="after shutdown"):
            pool.submit(fail)
        assert current.get() is not None


def test_a_thread_that_can_not_start(recorder):
    thread = Running()
    in_thread(thread)
    with recorder.running() as transaction:
        with pytest.raises(RuntimeError, match="only be started once"):
            thread.start()
        assert current.get() is transaction


def test_an_idle_worker_keeps_no_span_alive(recorder):
    class Mark:
        pass

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        with recorder.running() as transaction:
            mark = Mark()
            gone = weakref.ref(mark)
            transaction.context["mark"] = mark
            results = [pool.submit(current.get).result() is transaction for _ in range(4)]
        assert results == [True] * 4
        recorder.transactions.clear()
        del transaction, mark
        gc.collect()
        assert gone() is None


class Task:
    """Work that counts who knows it."""

    def __call__(self):
        return sys.getrefcount(self)


def test_the_work_is_let_go(recorder, pool):
    task = Task()
    before = sys.getrefcount(task)
    with recorder.running():
        pool.submit(task).result()
        pool.submit(int).result()  # the worker drops the one before when it takes the next
        gc.collect()
        assert sys.getrefcount(task) == before


def test_processes_get_the_work_as_it_is(recorder):
    with recorder.running():
        assert concurrent.futures.ProcessPoolExecutor.submit.__module__ == "concurrent.futures.process"
        assert not hasattr(concurrent.futures.ProcessPoolExecutor.submit, "__wrapped__")


GEVENT = """
from gevent import monkey
monkey.patch_all()
import threading, concurrent.futures, gevent
from apm_run.tracer import current
from apm_run import agent
transaction = agent.running.tracer.begin_transaction("x", "test")
found = []
def work():
    gevent.sleep(0.001)
    found.append(current.get() is transaction)
def run():
    current.set(transaction)
    thread = threading.Thread(target=work)
    thread.start(); thread.join()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()
        current.set(None)
        found.append(pool.submit(current.get).result())
run()
print(found)
"""


@pytest.mark.parametrize("first", ["", "import threading, concurrent.futures.thread\n"])
def test_gevent(tmp_path, first):
    pytest.importorskip("gevent")
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ELASTIC_APM", "APM_RUN"))},
        "PYTHONPATH": str(ROOT / "bootstrap"),
        "APM_RUN_STRICT": "1",
        "APM_RUN_STATE_DIR": str(tmp_path),
        "ELASTIC_APM_DISABLE_SEND": "true",
    }
    done = subprocess.run([sys.executable, "-c", first + GEVENT], env=env, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[True, True, None]\n", "")
