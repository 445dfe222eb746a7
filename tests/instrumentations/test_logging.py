"""Log records tell their transaction: programs as they are, with the formatters that people use."""

from __future__ import annotations

import json
import textwrap

import pytest
from tests.receiver import Sink
from tests.traced import bare, traced

#: A transaction with a span, made by the API; ``log`` is called outside, in the transaction and in the span.
AROUND = """
import logging, sys
{setup}
import apm_run

def main(log):
    log("outside")
    with apm_run.start_transaction("job", "job"):
        log("inside")
        with apm_run.start_span("step"):
            log("deeper")
    log("after")

{body}
"""
ECS = """
import ecs_logging
handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(ecs_logging.StdlibFormatter())
logging.basicConfig(handlers=[handler], level="INFO")
"""


def program(tmp_path, setup, body="main(logging.getLogger('shop').info)"):
    path = tmp_path / "program.py"
    path.write_text(AROUND.format(setup=textwrap.dedent(setup), body=textwrap.dedent(body)))
    return path


def run(path, sink, **env):
    options = {"ELASTIC_APM_SERVICE_NAME": "shop", "ELASTIC_APM_ENVIRONMENT": "test", **env}
    done = traced("python", path, url=sink.url, env=options)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    sink.wait(lambda sink: sink.transactions and sink.spans)
    return [json.loads(line) for line in done.stdout.splitlines()]


def ids(sink):
    (transaction,) = [each for each in sink.transactions if each["name"] == "job"]
    (span,) = sink.spans
    return transaction["id"], transaction["trace_id"], span["id"]


def test_ecs_logging(tmp_path):
    with Sink() as sink:
        outside, inside, deeper, after = run(program(tmp_path, ECS), sink)
        transaction, trace, span = ids(sink)
    assert (inside["trace"], inside["transaction"]) == ({"id": trace}, {"id": transaction})
    assert "span" not in inside
    assert (deeper["trace"], deeper["transaction"], deeper["span"]) == (
        {"id": trace},
        {"id": transaction},
        {"id": span},
    )
    for line in (outside, inside, deeper, after):
        assert line["service"] == {"name": "shop", "environment": "test"}
        assert not [key for key in line if key.startswith("elasticapm")]
    for line in (outside, after):
        assert not {"trace", "transaction", "span"} & line.keys()


def test_what_the_program_says_wins_and_nothing_collides(tmp_path):
    body = """
        logger = logging.getLogger("shop")
        extra = {"trace.id": "mine", "elasticapm_transaction_id": "own", "service": {"name": "another"}}
        main(lambda text: logger.info(text, extra=extra))
    """
    with Sink() as sink:
        lines = run(program(tmp_path, ECS, body), sink)
        _, _, span = ids(sink)
    for line in lines:
        assert line["trace"] == {"id": "mine"}
        assert line["transaction"] == {"id": "own"}
        assert line["service"]["name"] == "another"
    assert lines[2]["span"] == {"id": span}


def test_formats_that_name_the_attributes(tmp_path):
    """As with the official agent: the attributes are there for each record, in each style."""
    names = ("trace_id", "transaction_id", "span_id", "service_name", "service_environment")
    percent = json.dumps({name: f"%(elasticapm_{name})s" for name in names})
    with Sink() as sink:
        setup = f"logging.basicConfig(format={percent!r}, stream=sys.stdout, level='INFO')"
        outside, inside, deeper, _ = run(program(tmp_path, setup), sink)
        transaction, trace, span = ids(sink)
    own = {"service_name": "shop", "service_environment": "test"}
    assert outside == {"trace_id": "None", "transaction_id": "None", "span_id": "None", **own}
    assert inside == {"trace_id": trace, "transaction_id": transaction, "span_id": "None", **own}
    assert deeper == {"trace_id": trace, "transaction_id": transaction, "span_id": span, **own}
    brace = "{{" + ", ".join(f'"{name}": "{{elasticapm_{name}}}"' for name in names) + "}}"
    with Sink() as sink:
        setup = f"logging.basicConfig(format={brace!r}, style='{{', stream=sys.stdout, level='INFO')"
        assert run(program(tmp_path, setup), sink)[0] == outside


JSON_LOGGER = """
from pythonjsonlogger.json import JsonFormatter
handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(JsonFormatter())
logging.basicConfig(handlers=[handler], level="INFO")
"""


def test_python_json_logger_shows_them_inside_a_transaction_only(tmp_path):
    with Sink() as sink:
        outside, inside, deeper, after = run(program(tmp_path, JSON_LOGGER), sink)
        transaction, trace, span = ids(sink)
    assert (outside, after) == ({"message": "outside"}, {"message": "after"})
    shown = {
        "message": "inside",
        "elasticapm_trace_id": trace,
        "elasticapm_transaction_id": transaction,
        "elasticapm_service_name": "shop",
        "elasticapm_service_environment": "test",
    }
    assert inside == shown
    assert deeper == {**shown, "message": "deeper", "elasticapm_span_id": span}


SCRIPT = """
import logging, sqlite3, sys
{setup}
connection = sqlite3.connect(":memory:")
connection.execute("SELECT 1")
logging.getLogger("shop").info("in a script")
"""


def test_a_script_that_is_a_transaction_itself(tmp_path):
    """ECS tells of it; what shows whatever it finds is as bare, for scripts are run for what they print."""
    path = tmp_path / "program.py"
    with Sink() as sink:
        path.write_text(SCRIPT.format(setup=ECS))
        (line,) = run(path, sink)
        (transaction,) = sink.transactions
    assert transaction["type"] == "script"
    assert (line["transaction"], line["trace"]) == ({"id": transaction["id"]}, {"id": transaction["trace_id"]})
    with Sink() as sink:
        path.write_text(SCRIPT.format(setup=JSON_LOGGER))
        assert run(path, sink) == [{"message": "in a script"}]


STRUCTLOG = """
import structlog
processors = [structlog.stdlib.add_log_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter]
structlog.configure(processors=processors, logger_factory=structlog.stdlib.LoggerFactory())
handler = logging.StreamHandler(sys.stdout)
show = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()]
foreign = [structlog.stdlib.ExtraAdder()]
handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=show, foreign_pre_chain=foreign))
logging.basicConfig(handlers=[handler], level="INFO")
"""


def test_structlog(tmp_path):
    """Its own loggers have their own events; what came by ``logging`` it shows with its attributes."""
    body = "main(structlog.get_logger().info)\nmain(logging.getLogger('shop').info)"
    with Sink() as sink:
        lines = run(program(tmp_path, STRUCTLOG, body), sink)
        sink.wait(lambda sink: len(sink.spans) == 2)
    own = [{"event": text, "level": "info"} for text in ("outside", "inside", "deeper", "after")]
    assert lines[:4] == own
    found = [sorted(set(line) - {"event"}) for line in lines[4:]]
    assert [len(names) for names in found] == [0, 4, 5, 0]


TEXTS = """
import logging, logging.handlers, pickle, queue, sqlite3, sys
logging.basicConfig(stream=sys.stdout, level="DEBUG")
logger = logging.getLogger("shop")
connection = sqlite3.connect(":memory:")
connection.execute("SELECT 1")

class Record(logging.LogRecord):
    elasticapm_trace_id = "of the class"

class Odd:
    def __init__(self, *arguments, **named):
        self.__dict__.update(levelno=20, name="odd", msg="odd", args=(), levelname="INFO", exc_info=None)
        self.__dict__.update(exc_text=None, stack_info=None)
    def getMessage(self):
        return "odd"

def log(what):
    logger.info("%s by %(name)s" if isinstance(what, dict) else "%s", what)
    logger.warning("with extra", extra={"trace.id": "x", "elasticapm_trace_id": "y", "span": 3})
    logger.debug("at %d", 7, stacklevel=1)
    try:
        logger.info("wrong", extra={"message": 1})
    except KeyError as error:
        print(repr(error))

log("as it is")
before = logging.getLogRecordFactory()
assert before is logging.LogRecord, before
logging.setLogRecordFactory(Record)
log("another factory")
logging.setLogRecordFactory(Odd)
logger.info("odd")
logging.setLogRecordFactory(before)
record = logging.makeLogRecord({"msg": "made", "levelno": 20, "levelname": "INFO", "name": "made"})
assert not [name for name in record.__dict__ if name.startswith("elasticapm")]
logger.handle(record)
waiting = queue.Queue()
handler = logging.handlers.QueueHandler(waiting)
logger.addHandler(handler)
logger.info("queued %s", 1)
found = pickle.loads(pickle.dumps(waiting.get()))
print(found.getMessage(), type(found) is logging.LogRecord)
sent = logging.handlers.SocketHandler("127.0.0.1", 9)
print(logging.makeLogRecord(pickle.loads(sent.makePickle(found)[4:])).getMessage())

class Picky(logging.Formatter):
    def __init__(self, *, own):
        super().__init__(own, "%H", style="{")

print(Picky(own="{message}").format(found))
for wrong in (("%(nothing",), ("x", None, "?"), ()):
    try:
        print(logging.Formatter(*wrong).format(found))
    except ValueError as error:
        print(repr(error))
"""


def test_texts_are_as_bare(tmp_path):
    """Other factories, types of records, makeLogRecord, pickles, wrong extras and formats."""
    path = tmp_path / "program.py"
    path.write_text(TEXTS)
    expected = bare("python", path)
    assert (expected.returncode, expected.stderr) == (0, "")
    with Sink() as sink:
        found = traced("python", path, url=sink.url)
    assert (found.stdout, found.stderr, found.returncode) == (expected.stdout, "", 0)


QUEUED = """
import logging.handlers, queue
import ecs_logging
waiting = queue.Queue()
handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(ecs_logging.StdlibFormatter())
listener = logging.handlers.QueueListener(waiting, handler)
logging.basicConfig(handlers=[logging.handlers.QueueHandler(waiting)], level="INFO")
listener.start()
"""


def test_another_thread_formats(tmp_path):
    with Sink() as sink:
        body = "main(logging.getLogger('shop').info)\nlistener.stop()"
        lines = run(program(tmp_path, QUEUED, body), sink)
        _, trace, span = ids(sink)
    assert [line.get("trace") for line in lines] == [None, {"id": trace}, {"id": trace}, None]
    assert lines[2]["span"] == {"id": span}


@pytest.mark.parametrize(
    "option", [{"DISABLE_INSTRUMENTATIONS": "logging"}, {"RECORDING": "false"}, {"ENABLED": "false"}], ids=repr
)
def test_switched_off(tmp_path, option):
    path = program(tmp_path, JSON_LOGGER)
    env = {f"ELASTIC_APM_{name}": value for name, value in option.items()}
    done = traced("python", path, env=env)
    assert done.stdout == "".join(f'{{"message": "{text}"}}\n' for text in ("outside", "inside", "deeper", "after"))
