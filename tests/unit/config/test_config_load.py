"""Sources, precedence, warnings and masking."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from apm_run import config
from apm_run.config.wildcard import Matcher

SOURCE = str(Path(config.__file__).parents[2])
SECRET = "tr3s-s3cret"
SANITIZED = [
    *("password", "passwd", "pwd", "secret", "*key", "*token*", "*session*", "*credit*", "*card*", "*auth*"),
    *("set-cookie", "*principal*"),
]

SEARCHES = [
    *("*/_search", "*/_search/template", "*/_msearch", "*/_msearch/template", "*/_async_search", "*/_count"),
    *("*/_sql", "*/_eql/search"),
]


def load(**environ: str) -> tuple[config.Settings, list[str]]:
    settings, problems = config.load(environ)
    return settings, [str(problem) for problem in problems]


def test_defaults() -> None:
    settings, problems = load()
    assert problems == []
    assert {name: getattr(settings, name) for name in config.BY_NAME} == {
        "enabled": True,
        "recording": True,
        "instrument": True,
        "disable_instrumentations": (),
        "server_url": "http://127.0.0.1:8200",
        "secret_token": None,
        "api_key": None,
        "verify_server_cert": True,
        "server_cert": None,
        "server_ca_cert_file": None,
        "use_certifi": True,
        "server_timeout": 5.0,
        "api_request_size": 786_432,
        "api_request_time": 10.0,
        "exit_timeout": 2.0,
        "disable_send": False,
        "skip_server_info": False,
        "flush_on_os_exit": True,
        "service_name": None,
        "service_version": None,
        "environment": None,
        "service_node_name": None,
        "hostname": None,
        "global_labels": {},
        "framework_name": None,
        "framework_version": None,
        "include_process_args": False,
        "transaction_sample_rate": 1.0,
        "transaction_max_spans": 500,
        "exit_span_min_duration": 0.0,
        "span_compression_enabled": True,
        "span_compression_exact_match_max_duration": 50.0,
        "span_compression_same_kind_max_duration": 0.0,
        "trace_continuation_strategy": "continue",
        "baggage_to_attach": (Matcher("*"),),
        "program_transaction_min_duration": 100.0,
        "transaction_ignore_urls": (),
        "transaction_ignore_user_agents": (),
        "ignore_message_queues": (),
        "transactions_ignore_patterns": (),
        "transaction_name_groups": (),
        "use_path_as_transaction_name": False,
        "span_stack_trace_min_duration": 5.0,
        "span_frames_min_duration": None,
        "stack_trace_limit": 50,
        "source_lines_error_app_frames": 5,
        "source_lines_error_library_frames": 5,
        "source_lines_span_app_frames": 0,
        "source_lines_span_library_frames": 0,
        "include_paths": (),
        "exclude_paths": (),
        "collect_local_variables": "errors",
        "local_var_max_length": 200,
        "local_var_list_max_length": 10,
        "local_var_dict_max_length": 10,
        "auto_log_stacks": True,
        "mongodb_capture_statement_commands": tuple(
            map(Matcher, ("find", "aggregate", "count", "distinct", "mapReduce"))
        ),
        "filter_exception_types": (),
        "capture_headers": True,
        "capture_body": "off",
        "capture_body_content_types": tuple(
            map(Matcher, ("application/x-www-form-urlencoded*", "text/*", "application/json*", "application/xml*"))
        ),
        "long_field_max_length": 10_000,
        "elasticsearch_capture_body_urls": tuple(map(Matcher, SEARCHES)),
        "sanitize_field_names": tuple(map(Matcher, SANITIZED)),
        "breakdown_metrics": True,
        "metrics_interval": 30.0,
        "disable_metrics": (),
        "log_level": "info",
        "log_file": None,
    }
    assert {settings.origin(name) for name in config.BY_NAME} == {"default"}
    assert settings.shown("server_url") == "http://127.0.0.1:8200"
    assert settings.shown("service_name") == "none"
    assert repr(settings) == "Settings()"


def test_every_option_is_a_typed_attribute_with_a_value_of_that_type() -> None:
    assert list(config.Settings.__annotations__) == [option.name for option in config.OPTIONS]
    settings, _ = load()
    kinds = {"bool": bool, "int": int, "float": float, "str": str, "tuple": tuple, "dict": dict}
    for name, annotation in config.Settings.__annotations__.items():
        value = getattr(settings, name)
        if value is None:
            assert annotation in ("str | None", "float | None"), name
        else:
            assert type(value) is kinds[typing.cast(str, annotation).partition("[")[0]], name


def test_settings_have_no_other_attributes() -> None:
    with pytest.raises(AttributeError):
        load()[0].sevice_name = "x"  # type: ignore[attr-defined]


@pytest.mark.parametrize("option", config.OPTIONS, ids=lambda option: option.name)
def test_every_option_is_read_from_the_environment(option: config.Option, tmp_path: Path) -> None:
    example = option.example
    if option.kind.label == "path":
        file = tmp_path / "file.pem"
        file.write_text("")
        example = str(file)
    settings, problems = config.load({option.variable: example})
    assert problems == []
    assert getattr(settings, option.name) == option.kind.parse(example)
    assert getattr(settings, option.name) != getattr(load()[0], option.name)
    assert settings.origin(option.name) == f"environment ELASTIC_APM_{option.name.upper()}"
    assert settings.shown(option.name) == ("[REDACTED]" if option.secret else example)


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELASTIC_APM_SERVICE_NAME", "from-process")
    assert config.load()[0].service_name == "from-process"


def test_one_warning_names_option_value_origin_reason_and_default() -> None:
    settings, problems = load(ELASTIC_APM_TRANSACTION_SAMPLE_RATE="2.5", ELASTIC_APM_SERVICE_NAME="shop")
    assert problems == [
        'transaction_sample_rate: "2.5" (environment ELASTIC_APM_TRANSACTION_SAMPLE_RATE) '
        "is not a number from 0 to 1; using 1.0 (default)"
    ]
    assert settings.transaction_sample_rate == 1.0
    assert settings.service_name == "shop"
    assert settings.origin("transaction_sample_rate") == "default"


def test_the_problem_has_its_parts() -> None:
    problem = config.load({"ELASTIC_APM_RECORDING": "maybe"})[1][0]
    facts = (problem.option, problem.value, problem.origin, problem.reason, problem.used)
    assert facts == (
        "recording",
        '"maybe"',
        "environment ELASTIC_APM_RECORDING",
        "is not true or false",
        "true (default)",
    )
    assert repr(problem) == f"<Problem {problem}>"


def test_bad_values_do_not_touch_other_options() -> None:
    bad = {
        "ELASTIC_APM_SERVER_TIMEOUT": "soon",
        "ELASTIC_APM_SERVER_URL": "nowhere",
        "ELASTIC_APM_TRANSACTION_MAX_SPANS": "\u0663",
        "ELASTIC_APM_API_REQUEST_SIZE": "1" + "0" * 400 + "kb",
        "ELASTIC_APM_GLOBAL_LABELS": "x",
    }
    settings, problems = config.load({**bad, "ELASTIC_APM_LOG_LEVEL": "DEBUG"})
    expected, _ = load(ELASTIC_APM_LOG_LEVEL="DEBUG")
    assert [problem.option for problem in problems] == [
        "server_url",
        "server_timeout",
        "api_request_size",
        "global_labels",
        "transaction_max_spans",
    ]
    for name in config.BY_NAME:
        assert getattr(settings, name) == getattr(expected, name)
    assert all(len(str(problem)) < 300 and str(problem).isprintable() for problem in problems)


def test_a_problem_is_one_line_whatever_the_value() -> None:
    _, problems = load(ELASTIC_APM_LOG_LEVEL="de\nbug\x1b[31m\udc80")
    assert problems == [
        'log_level: "de\\nbug\\x1b[31m\\udc80" (environment ELASTIC_APM_LOG_LEVEL) is not one of '
        "trace, debug, info, warning, error, critical, off; using info (default)"
    ]


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_variable_is_not_set(empty: str, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('service_name = "from-file"\n')
    settings, problems = load(
        ELASTIC_APM_SERVICE_NAME=empty, ELASTIC_APM_ENABLED=empty, ELASTIC_APM_SERVER_URL=empty,
        APM_RUN_CONFIG=str(file),
    )  # fmt: skip
    assert problems == []
    assert (settings.service_name, settings.enabled) == ("from-file", True)
    assert settings.origin("server_url") == "default"


def test_an_empty_list_is_an_empty_list() -> None:
    settings, problems = load(ELASTIC_APM_SANITIZE_FIELD_NAMES="")
    assert (settings.sanitize_field_names, problems) == ((), [])
    assert settings.origin("sanitize_field_names") == "environment ELASTIC_APM_SANITIZE_FIELD_NAMES"


def test_unknown_elastic_variables_belong_to_others() -> None:
    assert load(ELASTIC_APM_SERVICE_NAM="x", ELASTIC_APM_CLOUD_PROVIDER="none")[1] == []


class TestOptionsOfTheLauncher:
    def test_origin(self) -> None:
        settings, problems = load(
            APM_RUN_OPTIONS="service_name,transaction_max_spans",
            ELASTIC_APM_SERVICE_NAME="x",
            ELASTIC_APM_TRANSACTION_MAX_SPANS="ten",
            ELASTIC_APM_ENVIRONMENT="y",
        )
        assert settings.origin("service_name") == "option --service-name"
        assert settings.origin("environment") == "environment ELASTIC_APM_ENVIRONMENT"
        assert problems == [
            'transaction_max_spans: "ten" (option --set) is not a whole number of -1 or more; using 500 (default)'
        ]

    def test_unknown_names(self) -> None:
        _, problems = load(APM_RUN_OPTIONS="service_nam, ,xyzzy,Transaction-Sample_Rat,a\nb")
        assert problems == [
            "service_nam (option --set) is not an option of apm-run; did you mean service_name?",
            "xyzzy (option --set) is not an option of apm-run",
            "transaction-sample_rat (option --set) is not an option of apm-run; did you mean transaction_sample_rate?",
            "a\\nb (option --set) is not an option of apm-run",
        ]


class TestSecrets:
    @pytest.mark.parametrize("name", ["secret_token", "api_key"])
    def test_are_masked_everywhere(self, name: str) -> None:
        good = config.load({f"ELASTIC_APM_{name.upper()}": SECRET})[0]
        bad, problems = config.load({f"ELASTIC_APM_{name.upper()}": f"{SECRET}\nX: y"})
        assert getattr(good, name) == SECRET
        assert getattr(bad, name) is None
        assert str(problems[0]) == (
            f"{name}: [REDACTED] (environment ELASTIC_APM_{name.upper()}) "
            "is not a text of printable ASCII characters; using none (default)"
        )
        for text in (repr(good), repr(bad), repr(problems), good.shown(name)):
            assert SECRET not in text
        assert repr(good) == f"Settings({name}=[REDACTED] (environment ELASTIC_APM_{name.upper()}))"

    def test_userinfo_of_the_url_is_masked(self) -> None:
        good, _ = load(ELASTIC_APM_SERVER_URL=f"http://me:{SECRET}@apm:8200")
        assert good.server_url == f"http://me:{SECRET}@apm:8200"
        assert repr(good) == "Settings(server_url=http://[REDACTED]@apm:8200 (environment ELASTIC_APM_SERVER_URL))"
        for url in (
            f"http://me:{SECRET}@apm:0",
            f"me:{SECRET}@apm",
            f"http://me:{SECRET}#@apm",
            f"ftp://{SECRET}@a/b@c",
        ):
            _, problems = load(ELASTIC_APM_SERVER_URL=url)
            assert "[REDACTED]@" in problems[0]
            assert SECRET not in problems[0]

    def test_a_good_secret_of_the_file_after_a_bad_one(self, tmp_path: Path) -> None:
        file = tmp_path / "c.toml"
        file.write_text(f'secret_token = "{SECRET}"\napi_keys = "{SECRET}"\n')
        settings, problems = load(ELASTIC_APM_SECRET_TOKEN="a\0b", APM_RUN_CONFIG=str(file))
        assert settings.secret_token == SECRET
        assert problems == [
            f"api_keys (file {file}) is not an option of apm-run; did you mean api_key?",
            "secret_token: [REDACTED] (environment ELASTIC_APM_SECRET_TOKEN) "
            f"is not a text of printable ASCII characters; using [REDACTED] (file {file})",
        ]


class TestOpenTelemetryNames:
    RESOURCE = (
        "service.name=o%74el%20s,service.version=1%2C2,deployment.environment=old,"
        "deployment.environment.name=new,service.instance.id=i-1,broken,other=x"
    )

    def test_are_used_last(self) -> None:
        settings, problems = load(OTEL_RESOURCE_ATTRIBUTES=self.RESOURCE)
        assert problems == []
        values = (settings.service_name, settings.service_version, settings.environment, settings.service_node_name)
        assert values == ("otel s", "1,2", "new", "i-1")
        assert settings.origin("service_name") == "environment OTEL_RESOURCE_ATTRIBUTES"
        assert settings.shown("service_name") == "otel s"

    def test_the_older_name_of_the_environment(self) -> None:
        assert load(OTEL_RESOURCE_ATTRIBUTES="deployment.environment=old")[0].environment == "old"

    def test_service_name_variable_wins_over_the_attribute(self) -> None:
        settings, _ = load(OTEL_RESOURCE_ATTRIBUTES=self.RESOURCE, OTEL_SERVICE_NAME="direct")
        assert settings.service_name == "direct"
        assert settings.origin("service_name") == "environment OTEL_SERVICE_NAME"

    def test_empty_ones_do_not_count(self) -> None:
        settings, problems = load(OTEL_RESOURCE_ATTRIBUTES="service.name=,=x", OTEL_SERVICE_NAME=" ")
        assert (settings.service_name, problems) == (None, [])

    def test_everything_configured_wins(self, tmp_path: Path) -> None:
        file = tmp_path / "c.toml"
        file.write_text('service_name = "file"\n')
        otel = {"OTEL_RESOURCE_ATTRIBUTES": self.RESOURCE, "OTEL_SERVICE_NAME": "direct"}
        assert load(**otel, APM_RUN_CONFIG=str(file))[0].service_name == "file"
        assert load(**otel, ELASTIC_APM_SERVICE_NAME="env", APM_RUN_CONFIG=str(file))[0].service_name == "env"

    def test_a_bad_one_is_a_warning(self) -> None:
        settings, problems = load(OTEL_SERVICE_NAME="a\x01b")
        assert settings.service_name is None
        assert problems == [
            'service_name: "a\\x01b" (environment OTEL_SERVICE_NAME) '
            "is not a text of printable characters; using none (default)"
        ]

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("%", "%"),
            ("%4", "%4"),
            ("%zz", "%zz"),
            ("a%", "a%"),
            ("%C3%A4", "\u00e4"),
            ("%ff", "\ufffd"),
            ("%+1", "%+1"),
        ],
    )
    def test_percent_encoding(self, text: str, value: str) -> None:
        assert load(OTEL_RESOURCE_ATTRIBUTES=f"service.version={text}")[0].service_version == value


def test_random_environments_never_raise() -> None:
    chance = random.Random(7)
    names = [option.variable for option in config.OPTIONS]
    names += ["APM_RUN_OPTIONS", "APM_RUN_CONFIG", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"]
    alphabet = "aB0519-+._ ,=%*:/@[]?#\n\x00\u0661\ud800\udcff\u20acmskb"
    for _ in range(500):
        environ = {name: "".join(chance.choices(alphabet, k=chance.randrange(20))) for name in chance.sample(names, 12)}
        settings, problems = config.load(environ)
        assert all(hasattr(settings, name) for name in config.BY_NAME)
        for problem in problems:
            assert "\n" not in str(problem)
        repr(settings)


def run(code: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**environ, "PYTHONPATH": SOURCE, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def test_importing_and_loading_imports_nothing_else() -> None:
    code = (
        "import sys, os; before = set(sys.modules); import apm_run.config as c\n"
        "settings, problems = c.load(); assert settings.service_name == 'x' and not problems\n"
        "print(sorted(set(sys.modules) - before))"
    )
    assert run(code, ELASTIC_APM_SERVICE_NAME="x", ELASTIC_APM_SERVER_URL="http://a") == (
        "['__future__', 'apm_run', 'apm_run.config', 'apm_run.config.options', 'apm_run.config.parse', "
        "'apm_run.config.wildcard', 'apm_run.version']\n"
    )


@pytest.mark.timing
def test_loading_takes_less_than_a_millisecond() -> None:
    code = (
        "import os, apm_run.config as c; from time import perf_counter as now\n"
        "began = now(); c.load(); print(now() - began)"
    )
    environ = {"ELASTIC_APM_SERVICE_NAME": "x", "ELASTIC_APM_SERVER_URL": "http://a:8200", **os.environ}
    environ.pop("PYTHONPATH", None)
    assert min(float(run(code, **environ)) for _ in range(5)) < 0.001


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("0", None, -1.0),
        ("0ms", None, -1.0),
        ("-1", None, 0.0),
        ("-1ms", None, 0.0),
        ("10ms", None, 10.0),
        ("10ms", "2ms", 2.0),
        ("10ms", "bad", 10.0),
        ("bad", None, 5.0),
    ],
)
def test_the_older_option_means_the_reverse_at_its_ends(old: str, new: str | None, expected: float) -> None:
    """Spec 4.2: span_frames_min_duration, 0 never and -1 always; its successor takes precedence."""
    environ = {"ELASTIC_APM_SPAN_FRAMES_MIN_DURATION": old}
    if new is not None:
        environ["ELASTIC_APM_SPAN_STACK_TRACE_MIN_DURATION"] = new
    settings, _ = config.load(environ)
    assert settings.span_stack_trace_min_duration == expected
    named = {2.0: "STACK_TRACE", 5.0: "default"}.get(expected, "FRAMES")
    assert named in settings.origin("span_stack_trace_min_duration")
