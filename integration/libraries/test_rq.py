"""RQ's workers of all kinds, with a real Redis."""

from __future__ import annotations

import re
from itertools import count, cycle

import pytest
from integration.libraries.programs import Working, context, run, tree, whole
from tests.instrumentations.served import package_version, stable
from tests.receiver import Sink

VERSION = tuple(int(number) for number in package_version("rq").split(".")[:2])
SENT = "  RQ SEND to default [db/redis/send] success\n"
DATABASES = cycle(range(1, 16))
TRACES = count(1)


def between(redis):
    """The environment of a worker and of those who give it work: no other worker takes that away."""
    # Our receiver would be spared what is not sampled.
    options = {"ELASTIC_APM_SKIP_SERVER_INFO": "true"}
    return {"REDIS_PORT": str(redis.port), "REDIS_DB": str(next(DATABASES)), **options}


@pytest.fixture
def env(redis_server):
    return between(redis_server)


def worker(env, *options, sink=None):
    url = f"redis://127.0.0.1:{env['REDIS_PORT']}/{env['REDIS_DB']}"
    return Working(
        "-m", "rq.cli", "worker", "-u", url, "--path", ".", *options, sink=sink, env=env, ready="Listening on"
    )


class Shop:
    """A worker, and what comes of what it is given."""

    def __init__(self, sink, env):
        self.sink, self.env = sink, env

    def __call__(self, expression, jobs=1):
        """What the program has written, and the tree of its trace once so many jobs have ended."""
        self.trace = f"{next(TRACES):032x}"
        output = run("rq_send.py", expression, sink=self.sink, env={**self.env, **context(self.trace)})
        self.sink.wait(lambda sink: len(self.jobs) >= jobs)
        self.sink.wait(lambda sink: whole(self.mine(sink.transactions + sink.spans)))
        return output, tree(self.sink, self.trace)

    @property
    def jobs(self):
        return [each for each in self.mine(self.sink.transactions) if each["type"] == "rq"]

    def mine(self, events):
        return [each for each in events if each.get("trace_id") == self.trace]

    def errors(self, number=1):
        self.sink.wait(lambda sink: len(self.mine(sink.errors)) >= number)
        return [
            (error["exception"]["type"], error["exception"]["handled"], error["transaction"]["name"])
            for error in self.mine(self.sink.errors)
        ]


@pytest.fixture(scope="module")
def shop(redis_server):
    env = between(redis_server)
    with Sink() as sink, worker(env, sink=sink):
        yield Shop(sink, env)


def test_whole_events(shop):
    output, found = shop("queue.enqueue(rq_jobs.add, 1, 2, meta={'own': 1})")
    assert re.sub("^[0-9a-f-]{36}", "ID", output).startswith("ID {'own': 1} ")
    assert found == "rq_send.py [script] success\n" + SENT + "    rq_jobs.add [rq] success"
    (job,) = shop.jobs
    job.pop("span_count")  # of the worker's own commands
    assert stable(job, {}) == {
        "name": "rq_jobs.add",
        "type": "rq",
        "result": "finished",
        "outcome": "success",
        "sampled": True,
        "context": {
            "message": {"queue": {"name": "default"}},
            "service": {"framework": {"name": "RQ", "version": package_version("rq")}},
        },
    }
    (span,) = [each for each in shop.mine(shop.sink.spans) if each["name"] == "RQ SEND to default"]
    span.pop("stacktrace", None)
    assert stable(span, {int(shop.env["REDIS_PORT"]): 9999}) == {
        "name": "RQ SEND to default",
        "type": "db",
        "subtype": "redis",
        "action": "send",
        "outcome": "success",
        "sync": True,
        "context": {
            "message": {"queue": {"name": "default"}},
            "service": {"target": {"type": "redis", "name": "default"}},
            "destination": {
                "address": "localhost",
                "port": 9999,
                "service": {"resource": "redis/default", "name": "", "type": ""},
            },
        },
    }


@pytest.mark.parametrize(
    ("call", "below", "reported"),
    [
        ("rq_jobs.later, 3", "later success finished", []),
        ("rq_jobs.Shop().open", "Shop.open success finished", []),
        ("'rq_jobs.add', 1, 2", "add success finished", []),
        ("rq_jobs.fail, 'x'", "fail failure failed", [("Order", False, "rq_jobs.fail")]),
        (
            "rq_jobs.slow, job_timeout=1",
            "slow failure failed",
            [("JobTimeoutException", False, "rq_jobs.slow")],
        ),
        ("rq_jobs.add, 'x', 1", "add failure failed", [("TypeError", False, "rq_jobs.add")]),
        ("rq_jobs.quit", "quit failure failed", [("SystemExit", False, "rq_jobs.quit")]),
    ],
)
def test_ends(shop, call, below, reported):
    _, found = shop(f"queue.enqueue({call})")
    name, outcome, result = below.split()
    assert found == "rq_send.py [script] success\n" + SENT + f"    rq_jobs.{name} [rq] {outcome}"
    assert shop.jobs[0]["result"] == result
    assert shop.errors(len(reported)) == reported


def test_unknown_function(shop):
    _, found = shop("queue.enqueue('rq_jobs.missing')")
    assert found.endswith("rq_jobs.missing [rq] failure")
    assert len(shop.errors()) == 1


def test_an_error_that_is_logged_says_nothing_of_the_state(shop):
    _, found = shop("queue.enqueue(rq_jobs.logging_error)")
    assert found.endswith("rq_jobs.logging_error [rq] success")
    (error,) = shop.sink.wait(lambda sink: shop.mine(sink.errors))
    assert error["log"]["message"] == "out of stock"


def test_retries(shop):
    again = f"{SENT}    rq_jobs.{{0}} [rq] failure\n    {SENT}        rq_jobs.{{0}} [rq] success"
    _, found = shop("queue.enqueue(rq_jobs.again, retry=Retry(max=1))", 2)
    assert found == "rq_send.py [script] success\n" + again.format("again")
    assert sorted(job["result"] for job in shop.jobs) == ["failed", "finished"]
    assert shop.errors() == [("KeyError", False, "rq_jobs.again")]
    if VERSION >= (2, 2):  # a job may ask for another try without an error
        _, found = shop("queue.enqueue(rq_jobs.returned)", 2)
        assert found == "rq_send.py [script] success\n" + again.format("returned")
        assert sorted(job["result"] for job in shop.jobs) == ["finished", "retried"]
        assert not shop.mine(shop.sink.errors)


def test_jobs_of_jobs(shop):
    below = f"    {SENT}        rq_jobs.add [rq] success"
    _, found = shop("queue.enqueue(rq_jobs.parent, 3)", 2)
    assert found == f"rq_send.py [script] success\n{SENT}    rq_jobs.parent [rq] success\n{below}"
    _, found = shop("[first := queue.enqueue(rq_jobs.nap, 1), queue.enqueue(rq_jobs.add, 1, 2, depends_on=first)]", 2)
    assert found.startswith(f"rq_send.py [script] success\n{SENT}    rq_jobs.nap [rq] success\n{below}")


def test_callbacks(shop):
    """What a job's callbacks do belongs to it."""
    words = "on_success=rq_jobs.succeeded, on_failure=rq_jobs.failed"
    if VERSION >= (2, 0):
        words = "on_success=Callback(rq_jobs.succeeded), on_failure=Callback(rq_jobs.failed)"
    shop(f"queue.enqueue(rq_jobs.add, 1, 2, {words})")
    assert shop.jobs[0]["result"] == "finished"
    shop(f"queue.enqueue(rq_jobs.fail, 'x', {words})")
    assert shop.errors() == [("Order", False, "rq_jobs.fail")]
    assert run("rq_send.py", "rq_jobs.called()", env=shop.env) == "b'3' b'order 7: x'\n"


def test_what_a_job_sees(shop):
    """Neither its meta nor its arguments hold anything of ours; nor do they after it was saved again."""
    shop("queue.enqueue(rq_jobs.seen, meta={'own': 1})")
    assert shop.jobs[0]["result"] == "finished"
    assert run("rq_send.py", "rq_jobs.shown()", env=shop.env) == "[{'own': 1, 'more': 2}, [], []]\n"


def test_unsampled(shop):
    trace = "d" * 32
    run("rq_send.py", "queue.enqueue(rq_jobs.add, 1, 2)", sink=shop.sink, env={**shop.env, **context(trace, "00")})
    mine = lambda events: [each for each in events if each["trace_id"] == trace]  # noqa: E731
    (job,) = shop.sink.wait(lambda sink: [each for each in mine(sink.transactions) if each["type"] == "rq"])
    assert (job["sampled"], job.get("context")) == (False, None)
    assert not mine(shop.sink.spans)


KINDS = [
    ("-w rq.SimpleWorker", (1, 0)),
    ("-w rq.worker.SpawnWorker", (2, 2)),
    ("-w rq.worker.RoundRobinWorker", (1, 8)),
    ("--with-scheduler", (1, 2)),
]


@pytest.mark.parametrize("options", [options for options, since in KINDS if since <= VERSION])
def test_kinds_of_workers(env, options):
    """Nothing is lost when a work horse ends; nothing of a worker's own work is reported."""
    with Sink() as sink, worker(env, *options.split(), sink=sink) as process:
        shop = Shop(sink, env)
        _, found = shop("[queue.enqueue(rq_jobs.add, i, i) for i in range(4)]", 4)
        assert found + "\n" == "rq_send.py [script] success\n" + 4 * (SENT + "    rq_jobs.add [rq] success\n")
        code, said = process.stop()
        assert code == 0, said
        sink.wait_idle()
        assert {each["type"] for each in sink.transactions} == {"script", "rq"}
        assert len(sink.transactions) == 5
        assert not sink.errors


def test_scheduled(env):
    with Sink() as sink, worker(env, "--with-scheduler", sink=sink):
        shop = Shop(sink, env)
        _, found = shop("queue.enqueue_in(datetime.timedelta(seconds=1), rq_jobs.add, 1, 2)", 1)
        assert found == "rq_send.py [script] success\n" + SENT + "    rq_jobs.add [rq] success"


def test_burst(env):
    """All that waits is done, and the worker ends."""
    with Sink() as sink:
        run("rq_send.py", "[queue.enqueue(rq_jobs.add, i, i) for i in range(3)]", sink=sink, env=env)
        with worker(env, "--burst", sink=sink) as process:
            assert process.ended() == 0
        sink.wait(lambda sink: len([each for each in sink.transactions if each["type"] == "rq"]) == 3)


def test_at_once(env):
    """A queue that is not asynchronous runs its jobs in who enqueues them: what they do is theirs."""
    with Sink() as sink:
        call = "Queue(connection=connection, is_async=False).enqueue(rq_jobs.parent, 3)"
        run("rq_send.py", call, sink=sink, env=env)
        names = [line.strip() for line in tree(sink).splitlines()]
        assert names == ["rq_send.py [script] success", SENT.strip()]


def test_killed(env):
    """A work horse that is killed is a failure; at the latest its worker reports it, when that ends."""
    with Sink() as sink, worker(env, sink=sink) as process:
        shop = Shop(sink, env)
        run("rq_send.py", "rq_jobs.killed()", sink=sink, env=env)
        _, found = shop("queue.enqueue(rq_jobs.add, 1, 2)")
        assert found.endswith("rq_jobs.add [rq] success")
        assert process.stop()[0] == 0
        (killed,) = sink.wait(lambda sink: [each for each in sink.transactions if each["name"] == "rq_jobs.slow"])
        assert killed["outcome"] == "failure"


def test_server_is_down(env):
    down = {**env, "REDIS_PORT": "9"}
    expected = run("rq_send.py", "rq_jobs.unreachable()", env=down)
    assert expected.startswith("('redis.exceptions', 'ConnectionError'")
    with Sink() as sink:
        assert run("rq_send.py", "rq_jobs.unreachable()", sink=sink, env=down) == expected
        names = [line.strip() for line in tree(sink).splitlines()]
        assert names[0] == "rq_send.py [script] success"
        assert not sink.errors


def test_as_bare(redis_server):
    """A worker writes what it would without us, whatever its jobs do."""
    logs = []
    for sink in (None, Sink()):
        env = between(redis_server)
        calls = ("add, 1, 2", "fail, 'x'", "again, retry=Retry(max=1)", "seen", "later, 3")
        run("rq_send.py", f"[{', '.join(f'queue.enqueue(rq_jobs.{call})' for call in calls)}]", sink=sink, env=env)
        with worker(env, "--burst", sink=sink) as process:
            code = process.ended()
            logs.append((code, [neutral(line) for line in process.output.splitlines()]))
        if sink is not None:
            sink.close()
    assert logs[0] == logs[1]


def neutral(line):
    line = re.sub(r"\b[0-9a-f]{8}-?[0-9a-f-]{22,27}\b", "ID", line)
    line = re.sub(r"/tmp/\w+", "FOLDER", line)
    line = re.sub(r"PID \d+|pid \d+", "PID", line)
    return re.sub(r"\d+:\d\d:\d\d(\.\d+)?", "TIME", line)
