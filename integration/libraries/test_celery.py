"""Celery's workers of all pools, with Redis and RabbitMQ between them and who sends."""

from __future__ import annotations

import re
import time
from difflib import unified_diff
from itertools import count, cycle

import pytest
from integration.libraries.programs import PARENT, Working, context, run, tree, whole
from tests.instrumentations.served import package_version, stable
from tests.receiver import Sink

WORKER = ("-m", "celery", "-A", "celery_shop", "worker", "-l", "INFO", "--concurrency", "2")
SENT = "  Celery SEND to celery [db/redis/send] success\n"


DATABASES = cycle(range(1, 16))


def between(redis):
    """The environment of a worker and of those who give it work: no other worker takes that away."""
    where = f"redis://127.0.0.1:{redis.port}"
    # Our receiver would be spared what is not sampled.
    options = {"ELASTIC_APM_SKIP_SERVER_INFO": "true"}
    return {"BROKER": f"{where}/{next(DATABASES)}", "BACKEND": f"{where}/0", **options}


@pytest.fixture
def env(redis_server):
    return between(redis_server)


@pytest.fixture(scope="module")
def shop(redis_server):
    """A prefork worker, and a function that has it work: what the program has written, and the tree of its trace."""
    env = between(redis_server)
    with Sink() as sink, Working(*WORKER, sink=sink, env=env, ready="ready.") as worker:
        traces = count(1)

        def work(expression, tasks, flags="01", **more):
            trace = f"{next(traces):032x}"
            output = run("celery_send.py", expression, sink=sink, env={**env, **more, **context(trace, flags)})
            found = lambda events: [each for each in events if each.get("trace_id") == trace]  # noqa: E731
            sink.wait(lambda sink: len(of(found(sink.transactions), "celery")) >= tasks)
            if flags != "00":
                sink.wait(lambda sink: whole(found(sink.transactions + sink.spans)))
            worker.found = found
            return output, tree(sink, trace)

        work.sink, work.worker = sink, worker
        yield work


def of(transactions, kind):
    return [each for each in transactions if each["type"] == kind]


def errors(shop, number=1):
    shop.sink.wait(lambda sink: len(shop.worker.found(sink.errors)) >= number)
    return [
        (error["exception"]["type"], error["exception"]["handled"], error["transaction"]["name"])
        for error in shop.worker.found(shop.sink.errors)
    ]


def test_whole_events(shop):
    output, found = shop("shop.add.delay(1, 2)", 1)
    assert output == "3\n"
    assert found == (
        "celery_send.py [script] success\n" + SENT + "    celery_shop.add [celery] success"  #
    )
    (task,) = of(shop.worker.found(shop.sink.transactions), "celery")
    task.pop("span_count")  # of the result backend's commands
    assert stable(task, {}) == {
        "name": "celery_shop.add",
        "type": "celery",
        "result": "SUCCESS",
        "outcome": "success",
        "sampled": True,
        "context": {
            "message": {"queue": {"name": "celery"}},
            "service": {"framework": {"name": "Celery", "version": package_version("celery")}},
        },
    }
    (span,) = [each for each in shop.worker.found(shop.sink.spans) if each["name"] == "Celery SEND to celery"]
    span.pop("stacktrace", None)
    port = span["context"]["destination"].pop("port")
    assert f":{port}/" in shop.worker._env["BROKER"]
    assert stable(span, {}) == {
        "name": "Celery SEND to celery",
        "type": "db",
        "subtype": "redis",
        "action": "send",
        "outcome": "success",
        "sync": True,
        "context": {
            "message": {"queue": {"name": "celery"}},
            "service": {"target": {"type": "redis", "name": "celery"}},
            "destination": {
                "address": "127.0.0.1",
                "service": {"resource": "redis/celery", "name": "", "type": ""},
            },
        },
    }


AGAIN = SENT + "    celery_shop.{0} [celery] failure\n    " + SENT + "        celery_shop.{0} [celery] {1}"


@pytest.mark.parametrize(
    ("call", "tasks", "output", "below", "reported"),
    [
        ("shop.fail.delay('x')", 1, "ValueError('x')", "fail failure", [("ValueError", False, "celery_shop.fail")]),
        ("shop.unpicklable.delay()", 1, None, "unpicklable failure", [("Order", False, "celery_shop.unpicklable")]),
        (
            "shop.expected.delay()",
            1,
            "LookupError('expected')",
            "expected failure",
            [("LookupError", False, "celery_shop.expected")],
        ),
        ("shop.again.delay()", 2, "'second'", AGAIN.format("again", "success"), []),
        (
            "shop.auto.delay()",
            2,
            "KeyError('always')",
            AGAIN.format("auto", "failure"),
            [("KeyError", False, "celery_shop.auto")],
        ),
        ("shop.ignored.delay() and 1", 1, "1", "ignored success", []),
        ("shop.rejected.delay() and 1", 1, "1", "rejected failure", []),
        ("shop.forgotten.delay() and 1", 1, "1", "forgotten success", []),
        ("shop.counted.delay()", 1, None, "counted success", []),
        ("shop.app.send_task('celery_shop.add', (3, 4))", 1, "7", "add success", []),
        ("shop.add.apply_async((3, 4), countdown=1)", 1, "7", "add success", []),
        ("shop.slow.delay()", 1, None, "slow failure", [("SoftTimeLimitExceeded", False, "celery_shop.slow")]),
        ("shop.in_time.delay()", 1, "'in time'", "in_time success", []),
    ],
)
def test_ends(shop, call, tasks, output, below, reported):
    said, found = shop(call, tasks)
    if output is not None:
        assert said == f"{output}\n"
    if "\n" not in below:
        name, outcome = below.split()
        below = f"{SENT}    celery_shop.{name} [celery] {outcome}"
    assert found == "celery_send.py [script] success\n" + below
    assert errors(shop, len(reported)) == reported


def test_states(shop):
    shop("shop.auto.delay()", 2)
    states = [each["result"] for each in of(shop.worker.found(shop.sink.transactions), "celery")]
    assert sorted(states) == ["FAILURE", "RETRY"]


def test_an_error_that_is_logged_says_nothing_of_the_state(shop):
    _, found = shop("shop.logging_error.delay()", 1)
    assert found.endswith("celery_shop.logging_error [celery] success")
    (error,) = shop.sink.wait(lambda sink: shop.worker.found(sink.errors))
    assert error["log"]["message"] == "out of stock"


def test_tasks_of_tasks(shop):
    root, task = "celery_send.py [script] success\n", "    celery_shop.{} [celery] success\n"
    below = "    " + SENT + "    " + task.format("add")
    _, found = shop("shop.parent.delay(3)", 2)
    assert f"{found}\n" == root + SENT + task.format("parent") + below
    output, found = shop("chain(shop.add.s(1, 1), shop.add.s(5)).delay()", 2)
    assert output == "7\n"
    assert f"{found}\n" == root + SENT + task.format("add") + below
    output, found = shop("group(shop.add.s(1, 1), shop.add.s(2, 2)).delay()", 2)
    assert output == "[2, 4]\n"
    assert f"{found}\n" == root + 2 * (SENT + task.format("add"))
    output, found = shop("chord([shop.add.s(1, 1), shop.add.s(2, 2)])(shop.total.s())", 3)
    assert output == "6\n"
    # Whichever ends last sends the body.
    last = SENT + task.format("add") + "    " + SENT + "    " + task.format("total")
    assert f"{found}\n" in (root + last + SENT + task.format("add"), root + SENT + task.format("add") + last)


def test_run_at_once(shop):
    """``apply`` in a task, and ``task_always_eager`` in a program: spans of who calls."""
    output, found = shop("shop.within.delay(2)", 1)
    assert output == "[4, 'FAILURE']\n"
    assert found == (
        "celery_send.py [script] success\n"
        + SENT
        + "    celery_shop.within [celery] success\n"
        + "      celery_shop.add [app/task] success\n"
        + "      celery_shop.fail [app/task] failure"
    )
    assert errors(shop) == [("ValueError", False, "celery_shop.within")]
    output, found = shop("[shop.parent.delay(1), shop.fail.delay('x')]", 0, CONF_TASK_ALWAYS_EAGER="True")
    assert output == "1\nValueError('x')\n"
    assert found == (
        "celery_send.py [script] failure\n"
        "  celery_shop.parent [app/task] success\n"
        "    celery_shop.add [app/task] success\n"
        "  celery_shop.fail [app/task] failure"
    )


def test_headers(shop):
    """A task sees its headers as without us; what the program hands over stays as it is."""
    call = "[(h := {'a': 1}) and shop.seen.apply_async(headers=h), h]"
    outputs = (run("celery_send.py", call, env=shop.worker.given), shop(call, 1)[0])
    expected, traced = (re.sub("'[0-9a-f-]{36}'", "ID", text) for text in outputs)
    assert traced == expected
    assert expected.endswith(", [], ID]\n{'a': 1}\n")
    output, _ = shop("shop.seen.delay()", 1)
    assert output.startswith("[None, [], ")


@pytest.mark.parametrize("official", [True, False])
def test_trace_context_of_others(shop, official):
    """What the program itself has put into the headers is continued, and seen by the task."""
    trace = f"{'a' * 31}{int(official)}"
    parent = context(trace)["TRACEPARENT"]
    header = {"elasticapm": {"trace_parent_string": parent}} if official else {"traceparent": parent}
    output = run("celery_send.py", f"shop.seen.apply_async(headers={header})", sink=shop.sink, env=shop.worker.given)
    assert str(header) in output or output.startswith("[None, ")  # Celery before 5.3 shows a task no headers
    task = shop.sink.wait(lambda sink: [each for each in of(sink.transactions, "celery") if each["trace_id"] == trace])
    assert task[0]["parent_id"] == PARENT


def test_unsampled(shop):
    shop("shop.add.delay(1, 2)", 1, flags="00")
    (task,) = of(shop.worker.found(shop.sink.transactions), "celery")
    assert (task["sampled"], task.get("context")) == (False, None)


@pytest.mark.parametrize("pool", ["-P solo", "-P threads", "-P gevent", "--max-tasks-per-child=1", "-B -O fair"])
def test_pools(env, pool):
    """Nothing is lost when a worker, or each of its children, ends; nothing of its own work is reported."""
    with Sink() as sink, Working(*WORKER, *pool.split(), sink=sink, env=env, ready="ready.") as worker:
        output = run("celery_send.py", "[shop.add.delay(i, i) for i in range(6)]", sink=sink, env=env)
        assert output == "0\n2\n4\n6\n8\n10\n"
        code, said = worker.stop()
        assert code == 0, said
        sink.wait(lambda sink: len(of(sink.transactions, "celery")) == 6)
        task = SENT + "    celery_shop.add [celery] success\n"
        assert tree(sink) + "\n" == "celery_send.py [script] success\n" + 6 * task
        assert not sink.errors


def test_warm_shutdown(env):
    """A task that runs is waited for, and is reported."""
    with Sink() as sink, Working(*WORKER, sink=sink, env=env, ready="ready.") as worker:
        run("celery_send.py", "shop.nap.delay(2) and 1", sink=sink, env=env)
        worker.until(lambda: "celery_shop.nap" in worker.output.partition("ready.")[2])
        code, said = worker.stop()
        assert code == 0, said
        assert "'rested'" in said
        sink.wait(lambda sink: of(sink.transactions, "celery"))
        assert of(sink.transactions, "celery")[0]["outcome"] == "success"


def test_killed_tasks(env):
    """A hard time limit, and a task that is revoked while it runs; one that is revoked before is no transaction."""
    with Sink() as sink, Working(*WORKER, sink=sink, env=env, ready="ready.") as worker:
        output = run("celery_send.py", "shop.stuck.delay()", sink=sink, env=env)
        assert output == "TimeLimitExceeded(2)\n"
        kill = "[(r := shop.nap.delay(30)), __import__('time').sleep(2), r.revoke(terminate=True)][-1]"
        run("celery_send.py", kill, sink=sink, env=env)
        later = "[(r := shop.add.apply_async((1, 2), countdown=2)), r.revoke()][-1]"
        run("celery_send.py", later, sink=sink, env=env)
        worker.until(lambda: "Discarding revoked task" in worker.output)
        # What a killed process has left is sent by another one that has something to send.
        run("celery_send.py", "shop.forgotten.delay() and 1", sink=sink, env=env)
        sink.wait(lambda sink: len(of(sink.transactions, "celery")) == 3, 30)
        assert worker.stop()[0] == 0
        sink.wait_idle()
        assert {each["name"]: each["outcome"] for each in of(sink.transactions, "celery")} == {
            "celery_shop.stuck": "failure",
            "celery_shop.nap": "failure",
            "celery_shop.forgotten": "success",
        }


#: Two tasks that are due once, at once: what has been due for long, and is not again before an hour.
DUE = "{{'task': 'celery_shop.add', 'schedule': 3600, 'last_run_at': {}, 'args': (1, 2)}}".format(
    "__import__('datetime').datetime(2020, 1, 1, tzinfo=__import__('datetime').timezone.utc)"
)


def test_beat(env):
    """The schedule's own loop is no transaction; what it sends begins a trace."""
    env = {**env, "CONF_BEAT_SCHEDULE": f"{{'one': {DUE}, 'other': {DUE}}}"}
    beat = ("-m", "celery", "-A", "celery_shop", "beat", "-l", "DEBUG")
    # It sleeps when it is told to end: in the middle of sending its handler's SystemExit may be raised in a result's
    # __del__, which loses it, and the loop goes on with its schedule closed. So it does bare.
    with Sink() as sink, Working(*beat, sink=sink, env=env, ready="beat: Waking up") as sending:
        with Working(*WORKER, "-P", "solo", sink=sink, env=env, ready="ready.") as worker:
            sink.wait(lambda sink: len(of(sink.transactions, "celery")) == 2)
            assert sending.stop()[0] == 0
            assert worker.stop()[0] == 0
        assert sending.output.count("Sending due task") == 2
        sink.wait_idle()
        assert {(each["name"], each.get("parent_id")) for each in sink.transactions} == {("celery_shop.add", None)}
        assert not [each for each in sink.spans if each["action"] == "send"]


def test_broker_is_down(env):
    """The library's own exception comes, and its span is a failure."""
    down = {**env, "BROKER": "redis://127.0.0.1:9/0"}
    expected = run("celery_send.py", "shop.unreachable()", env=down)
    assert expected.startswith("('kombu.exceptions', 'OperationalError'")
    with Sink() as sink:
        assert run("celery_send.py", "shop.unreachable()", sink=sink, env=down) == expected
        assert tree(sink) == "celery_send.py [script] success\n  Celery SEND to celery [db/redis/send] failure"
        assert not sink.errors


def test_rabbitmq(rabbitmq):
    env = {"BROKER": f"amqp://guest:guest@127.0.0.1:{rabbitmq.port}//", "BACKEND": "rpc://"}
    with Sink() as sink, Working(*WORKER, "-Q", "celery,slow", sink=sink, env=env, ready="ready.") as worker:
        call = "[shop.add.delay(1, 2), shop.add.apply_async((3, 4), queue='slow'), shop.again.delay()]"
        assert run("celery_send.py", call, sink=sink, env=env) == "3\n7\n'second'\n"
        assert worker.stop()[0] == 0
        sink.wait(lambda sink: len(of(sink.transactions, "celery")) == 4)
        sent = "Celery SEND to celery [messaging/rabbitmq/send] success\n"
        assert tree(sink) + "\n" == (
            "celery_send.py [script] success\n"
            f"  {sent}    celery_shop.add [celery] success\n"
            f"  {sent.replace('to celery', 'to slow')}    celery_shop.add [celery] success\n"
            f"  {sent}    celery_shop.again [celery] failure\n      {sent}        celery_shop.again [celery] success\n"
        )
        (span,) = [each for each in sink.spans if each["name"] == "Celery SEND to slow"]
        assert span["context"]["service"]["target"] == {"type": "rabbitmq", "name": "slow"}
        assert span["context"]["destination"]["port"] == rabbitmq.port


def test_as_bare(redis_server):
    """A worker writes what it would without us, whatever its tasks do."""
    logs = []
    for sink in (None, Sink()):
        own = between(redis_server)
        with Working(*WORKER, "-P", "solo", sink=sink, env=own, ready="ready.") as worker:
            calls = ("add.delay(1, 2)", "fail.delay('x')", "unpicklable.delay()", "again.delay()", "rejected.delay()")
            run("celery_send.py", f"[{', '.join(f'shop.{call}' for call in calls[:-1])}]", sink=sink, env=own)
            run("celery_send.py", f"shop.{calls[-1]} and 1", sink=sink, env=own)
            worker.until(lambda: worker.output.count("celery_shop.rejected[") == 2)
            time.sleep(0.5)
            code, _ = worker.stop()
            logs.append((code, sorted(neutral(line) for line in worker.log)))
        if sink is not None:
            sink.close()
    assert logs[0][0] == logs[1][0]
    assert logs[0][1] == logs[1][1], "\n".join(unified_diff(logs[0][1], logs[1][1], "bare", "traced", lineterm=""))


def test_ids_in_a_log():
    """The id of a task is one, though it may begin with digits alone, as a pid is written."""
    said = "Task celery_shop.add[12345678-09d0-43c8-9a46-73363e864cdb] received"
    with Working("-c", f"import time; print({said!r}); time.sleep(60)", ready="received") as worker:
        assert worker.log == ["Task celery_shop.add[ID] received"]


def neutral(line):
    line = re.sub(r"PORT/\d+\b", "PORT/DB", line)
    return re.sub(r"\b\d+(\.\d+)?(e-\d+)?s: ", "SECONDS: ", line)
