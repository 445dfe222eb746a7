"""The option table: one row for each option that this release honours, and nothing that does nothing.

Names, defaults and meanings are Elastic's (spec.md 4.2). The reference page of the documentation is generated
from this table, :class:`apm_run.config.Settings` has its attributes from it, and a test holds them together.
"""

from __future__ import annotations

from apm_run.config import parse

#: Prefix of the environment variable of every option; the rest is the name in upper case.
PREFIX = "ELASTIC_APM_"


class Option:
    """One option.

    :ivar name: Elastic's name, and the attribute of ``Settings``.
    :ivar kind: the type, which also parses it.
    :ivar default: the default as text; None where there is none: the value is None or an empty collection.
    :ivar dynamic: whether a running agent may take a new value.
    :ivar secret: whether no message may ever show the value.
    :ivar group: the heading in the documentation.
    :ivar help: one or more sentences of Markdown.
    :ivar example: a value as a user would write it, for the documentation.
    :ivar since: the first release with this option.
    """

    __slots__ = ("default", "dynamic", "example", "group", "help", "kind", "name", "secret", "since", "variable")

    def __init__(  # noqa: PLR0917 (a row of the table)
        self,
        name: str,
        kind: parse.Kind,
        default: str | None,
        group: str,
        help: str,
        example: str,
        dynamic: bool = False,
        secret: bool = False,
        since: str = "0.1.0",
    ) -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.group = group
        self.help = help
        self.example = example
        self.dynamic = dynamic
        self.secret = secret
        self.since = since
        self.variable = PREFIX + name.upper()

    def __repr__(self) -> str:
        return f"Option({self.name!r})"


_SWITCH = "What runs"
_SERVER = "The server"
_SERVICE = "The service"
_TRACES = "Transactions and spans"
_STACKS = "Stack traces"
_DATA = "Captured data"
_METRICS = "Metrics"
_LOG = "The agent's own log"

_LINES = "0 sends none."

OPTIONS: tuple[Option, ...] = (
    Option(
        "enabled",
        parse.boolean(),
        "true",
        _SWITCH,
        "With `false` the program runs as if it had been started without `apm-run`.",
        "false",
    ),
    Option(
        "recording",
        parse.boolean(),
        "true",
        _SWITCH,
        "With `false` nothing is captured or sent, but libraries stay instrumented.",
        "false",
        dynamic=True,
    ),
    Option("instrument", parse.boolean(), "true", _SWITCH, "With `false` no library is instrumented.", "false"),
    Option(
        "disable_instrumentations",
        parse.wildcards(),
        None,
        _SWITCH,
        "Libraries that are not to be instrumented, by the names that `apm-run doctor` shows. Without `http.client` "
        "neither requests nor urllib3 sends the trace context.",
        "sqlite3, http*",
    ),
    Option(
        "server_url",
        parse.url(),
        "http://127.0.0.1:8200",
        _SERVER,
        "URL of APM Server, with its path if it has one. User name and password in it are masked in every message.",
        "https://apm.example.com:8200",
    ),
    Option(
        "secret_token",
        parse.credential(),
        None,
        _SERVER,
        "The secret token of APM Server. Not used if `api_key` is set.",
        "s3cr3t",
        secret=True,
    ),
    Option(
        "api_key",
        parse.credential(),
        None,
        _SERVER,
        "An API key for APM Server, encoded in Base64 as Kibana shows it. It takes precedence over `secret_token`.",
        "aWQ6a2V5",
        secret=True,
    ),
    Option(
        "verify_server_cert",
        parse.boolean(),
        "true",
        _SERVER,
        "Whether the certificate of the server has to be valid. Not used if `server_cert` is set.",
        "false",
    ),
    Option(
        "server_cert",
        parse.readable_file(),
        None,
        _SERVER,
        "File with the PEM certificate of the server: the server has to present exactly this one.",
        "/etc/apm/server.pem",
    ),
    Option(
        "server_ca_cert_file",
        parse.readable_file(),
        None,
        _SERVER,
        "File with the PEM certificates of the authorities that may have signed the certificate of the server.",
        "/etc/apm/ca.pem",
    ),
    Option(
        "use_certifi",
        parse.boolean(),
        "true",
        _SERVER,
        "Whether to trust the authorities of the package `certifi`, where it is installed, and not those "
        "of the system.",
        "false",
    ),
    Option(
        "server_timeout",
        parse.seconds(bare=True),
        "5s",
        _SERVER,
        "How long one request may take. A number without unit means seconds.",
        "10s",
    ),
    Option(
        "api_request_size",
        parse.size(),
        "768kb",
        _SERVER,
        "A request is ended at this size, counted after compression.",
        "512kb",
        dynamic=True,
    ),
    Option(
        "api_request_time",
        parse.seconds(bare=True),
        "10s",
        _SERVER,
        "A request is ended after this time at the latest. A number without unit means seconds.",
        "5s",
        dynamic=True,
    ),
    Option(
        "exit_timeout",
        parse.seconds(),
        "2s",
        _SERVER,
        "The most that sending what is left may add to the end of the program. Where the outbox is on disk, a server "
        "that gives no sign of life is not waited for longer than 0.3 s, unless this option is set: what is left is "
        "sent by another process then.",
        "10s",
    ),
    Option(
        "flush_on_os_exit",
        parse.boolean(),
        "true",
        _SERVER,
        "Whether `os._exit` and `os.exec*` first send what waits, for at most 0.3 s. With `false` these functions are "
        "left alone, and what is unsent waits in the outbox. An option of `apm-run` alone.",
        "false",
    ),
    Option(
        "disable_send",
        parse.boolean(),
        "false",
        _SERVER,
        "With `true` nothing is sent and no connection is made; everything else works.",
        "true",
    ),
    Option(
        "skip_server_info",
        parse.boolean(),
        "false",
        _SERVER,
        "With `true` the server is not asked for its version. It is then taken for an old one, which gets unsampled "
        "transactions too.",
        "true",
    ),
    Option(
        "service_name",
        parse.text(),
        None,
        _SERVICE,
        "Name of the service. Characters other than ASCII letters, digits, space, `_` and `-` become "
        "`_`. Without it "
        "`OTEL_SERVICE_NAME` and `service.name` in `OTEL_RESOURCE_ATTRIBUTES` are used, else the name of "
        "the program.",
        "shop",
    ),
    Option(
        "service_version",
        parse.text(),
        None,
        _SERVICE,
        "Version of the service. Without it `service.version` in `OTEL_RESOURCE_ATTRIBUTES` is used, "
        "else the version "
        "in the `pyproject.toml` or `setup.cfg` beside the program.",
        "1.4.2",
    ),
    Option(
        "environment",
        parse.text(),
        None,
        _SERVICE,
        "Environment of the service. Without it `deployment.environment.name` or `deployment.environment` in "
        "`OTEL_RESOURCE_ATTRIBUTES` is used.",
        "production",
    ),
    Option(
        "service_node_name",
        parse.text(),
        None,
        _SERVICE,
        "Name that tells the instances of a service apart. Without it `service.instance.id` in "
        "`OTEL_RESOURCE_ATTRIBUTES` is used; without both the server takes the container id or the host "
        "name.",
        "shop-3",
    ),
    Option(
        "hostname",
        parse.text(),
        None,
        _SERVICE,
        "Name of the host, shown instead of the detected one.",
        "web-1.example.com",
    ),
    Option(
        "global_labels",
        parse.mapping(),
        None,
        _SERVICE,
        "Labels of all events. In a configuration file they may be a table.",
        "team=payments,tier=backend",
    ),
    Option(
        "framework_name",
        parse.text(),
        None,
        _SERVICE,
        "Name of the web framework, shown instead of the detected one.",
        "flask",
    ),
    Option(
        "framework_version",
        parse.text(),
        None,
        _SERVICE,
        "Version of the web framework, shown instead of the detected one.",
        "3.1.0",
    ),
    Option(
        "include_process_args",
        parse.boolean(),
        "false",
        _SERVICE,
        "Whether the arguments of the process are sent. They may hold secrets.",
        "true",
    ),
    Option(
        "transaction_sample_rate",
        parse.sample_rate(),
        "1.0",
        _TRACES,
        "The part of the traces begun here that is recorded, with up to four decimals. What arrives with "
        "a sampling "
        "decision keeps it.",
        "0.1",
        dynamic=True,
    ),
    Option(
        "transaction_max_spans",
        parse.integer(-1),
        "500",
        _TRACES,
        "Spans recorded in one transaction; the others are counted. 0 records none, -1 all.",
        "1000",
        dynamic=True,
    ),
    Option(
        "exit_span_min_duration",
        parse.milliseconds(0, granular=True),
        "0ms",
        _TRACES,
        "Exit spans shorter than this are counted, not reported, unless they failed or passed the trace context on.",
        "1ms",
        dynamic=True,
    ),
    Option(
        "span_compression_enabled",
        parse.boolean(),
        "true",
        _TRACES,
        "Whether short exit spans of the same kind that follow each other become one.",
        "false",
        dynamic=True,
    ),
    Option(
        "span_compression_exact_match_max_duration",
        parse.milliseconds(0),
        "50ms",
        _TRACES,
        "Such spans of the same name become one up to this duration.",
        "10ms",
        dynamic=True,
    ),
    Option(
        "span_compression_same_kind_max_duration",
        parse.milliseconds(0),
        "0ms",
        _TRACES,
        "Such spans of different names become one up to this duration; `0ms` keeps them apart.",
        "5ms",
        dynamic=True,
    ),
    Option(
        "trace_continuation_strategy",
        parse.choice(("continue", "restart", "restart_external")),
        "continue",
        _TRACES,
        "What an incoming `traceparent` means. `continue`: its trace goes on here. `restart`: a new trace begins, "
        "with a sampling decision of its own and a link to the other. `restart_external`: the latter for traces that "
        "no agent of Elastic's has begun.",
        "restart_external",
        dynamic=True,
    ),
    Option(
        "baggage_to_attach",
        parse.wildcards(),
        "*",
        _TRACES,
        "Keys of the incoming `baggage` that are shown with transactions, spans and errors, as `baggage.KEY`. All of "
        "it goes on with outgoing requests.",
        "customer-*, tenant",
        dynamic=True,
    ),
    Option(
        "program_transaction_min_duration",
        parse.milliseconds(0),
        "100ms",
        _TRACES,
        "The program's own transaction is sent if it lasted this long, if it holds a span or an error, "
        "or if the program "
        "failed. `0ms` sends it always. An option of `apm-run` alone.",
        "1s",
    ),
    Option(
        "transaction_ignore_urls",
        parse.wildcards(),
        None,
        _TRACES,
        "Requests whose path matches make no transaction. Host and query do not count.",
        "/healthz, *.css, /static/*",
        dynamic=True,
    ),
    Option(
        "transaction_ignore_user_agents",
        parse.wildcards(),
        None,
        _TRACES,
        "Requests whose `User-Agent` header matches make no transaction; their errors are still reported.",
        "kube-probe/*, ELB-HealthChecker*",
        dynamic=True,
    ),
    Option(
        "ignore_message_queues",
        parse.wildcards(),
        None,
        _TRACES,
        "Queues, topics and exchanges whose messages make neither transactions nor spans, sent or received, and get no "
        "trace context.",
        "heartbeats, internal.*",
        dynamic=True,
    ),
    Option(
        "transactions_ignore_patterns",
        parse.patterns(),
        None,
        _TRACES,
        "Regular expressions. A transaction is not reported if its final name begins with what one of them matches; "
        "its errors still are.",
        "^GET /internal, ^OPTIONS",
    ),
    Option(
        "transaction_name_groups",
        parse.wildcards(),
        None,
        _TRACES,
        "A transaction whose name matches gets the text of the pattern as its name; the first one that matches counts.",
        "GET /user/*/cart, POST /hook/*",
        dynamic=True,
    ),
    Option(
        "use_path_as_transaction_name",
        parse.boolean(),
        "false",
        _TRACES,
        "Whether a request that no route is known for is named by its method and path, not `GET unknown route`. "
        "Paths that hold ids want `transaction_name_groups`.",
        "true",
        dynamic=True,
    ),
    Option(
        "span_stack_trace_min_duration",
        parse.milliseconds(),
        "5ms",
        _STACKS,
        "Spans of this duration and more carry a stack trace. `0ms` gives one to every span, a negative "
        "duration to none.",
        "50ms",
        dynamic=True,
    ),
    Option(
        "span_frames_min_duration",
        parse.milliseconds(bare=True),
        None,
        _STACKS,
        "Deprecated: as `span_stack_trace_min_duration`, which takes precedence, but `0ms` gives no span a stack trace "
        "and a negative duration gives one to every span.",
        "-1ms",
        dynamic=True,
    ),
    Option(
        "stack_trace_limit",
        parse.integer(-1),
        "50",
        _STACKS,
        "Frames of a stack trace; 0 sends no stack traces, -1 all frames.",
        "100",
        dynamic=True,
    ),
    Option(
        "source_lines_error_app_frames",
        parse.integer(0, 1000),
        "5",
        _STACKS,
        f"Lines of source around each of the program's own frames of an error. {_LINES}",
        "10",
    ),
    Option(
        "source_lines_error_library_frames",
        parse.integer(0, 1000),
        "5",
        _STACKS,
        f"Lines of source around each frame of a library in an error. {_LINES}",
        "0",
    ),
    Option(
        "source_lines_span_app_frames",
        parse.integer(0, 1000),
        "0",
        _STACKS,
        f"Lines of source around each of the program's own frames of a span. {_LINES}",
        "5",
    ),
    Option(
        "source_lines_span_library_frames",
        parse.integer(0, 1000),
        "0",
        _STACKS,
        f"Lines of source around each frame of a library in a span. {_LINES}",
        "5",
    ),
    Option(
        "include_paths",
        parse.wildcards(),
        None,
        _STACKS,
        "Files whose frames are the program's own, by their whole paths. It takes precedence over `exclude_paths` and "
        "over what is known of installed packages.",
        "*/site-packages/acme/*",
    ),
    Option(
        "exclude_paths",
        parse.wildcards(),
        None,
        _STACKS,
        "Files whose frames are a library's, by their whole paths. The standard library and installed packages are "
        "libraries without it.",
        "/srv/shop/vendor/*",
    ),
    Option(
        "collect_local_variables",
        parse.choice(("off", "errors", "transactions", "all")),
        "errors",
        _STACKS,
        "Which stack traces show the local variables of the program's own functions: those of `errors`, those of slow "
        "spans (`transactions`) or `all`. They are sanitised by `sanitize_field_names`; of objects that are no plain "
        "values only the type is shown.",
        "off",
        dynamic=True,
    ),
    Option(
        "local_var_max_length",
        parse.integer(0),
        "200",
        _STACKS,
        "Characters that are kept of a text in a local variable.",
        "500",
    ),
    Option(
        "local_var_list_max_length",
        parse.integer(0),
        "10",
        _STACKS,
        "Items that are kept of a list, tuple or set in a local variable.",
        "50",
    ),
    Option(
        "local_var_dict_max_length",
        parse.integer(0),
        "10",
        _STACKS,
        "Items that are kept of a dictionary in a local variable.",
        "50",
    ),
    Option(
        "auto_log_stacks",
        parse.boolean(),
        "true",
        _STACKS,
        "Whether an error that was logged without an exception shows the stack of where it was logged.",
        "false",
    ),
    Option(
        "mongodb_capture_statement_commands",
        parse.wildcards(),
        "find, aggregate, count, distinct, mapReduce",
        _DATA,
        "MongoDB commands whose spans show the command itself, values of secret fields redacted "
        "(`sanitize_field_names`).",
        "find",
        dynamic=True,
    ),
    Option(
        "filter_exception_types",
        parse.wildcards(),
        None,
        _DATA,
        "Exceptions that make no error event, by module and name. What they do to the outcome stays as it is.",
        "shop.cart.SoldOut, builtins.KeyError",
    ),
    Option(
        "capture_headers",
        parse.boolean(),
        "true",
        _DATA,
        "Whether the headers of requests and responses are captured, and the cookies of requests.",
        "false",
        dynamic=True,
    ),
    Option(
        "capture_body",
        parse.choice(("off", "errors", "transactions", "all")),
        "off",
        _DATA,
        "Which events show the body of the request, as far as the program has read it: `errors`, `transactions` or "
        "`all`. Others show that there was one by `[REDACTED]`. Form and JSON fields are sanitised by their names.",
        "errors",
        dynamic=True,
    ),
    Option(
        "capture_body_content_types",
        parse.wildcards(),
        "application/x-www-form-urlencoded*, text/*, application/json*, application/xml*",
        _DATA,
        "Content types of the bodies that `capture_body` shows. Of `multipart/form-data*`, which is not among the "
        "default, files are shown as names.",
        "application/json*, multipart/form-data*",
        dynamic=True,
    ),
    Option(
        "long_field_max_length",
        parse.integer(1, 100_000),
        "10000",
        _DATA,
        "Characters that are kept of the body of a request, and of a database statement (10000 of that at most).",
        "2000",
    ),
    Option(
        "elasticsearch_capture_body_urls",
        parse.wildcards(),
        "*/_search, */_search/template, */_msearch, */_msearch/template, */_async_search, */_count, */_sql, "
        "*/_eql/search",
        _DATA,
        "Requests to Elasticsearch whose path matches show their body as the statement.",
        "*/_search, */_count",
    ),
    Option(
        "sanitize_field_names",
        parse.wildcards(),
        "password, passwd, pwd, secret, *key, *token*, *session*, *credit*, *card*, *auth*, set-cookie, *principal*",
        _DATA,
        "Headers, cookies, form and JSON fields and parameters of URLs whose name matches are sent as `[REDACTED]`. A "
        "setting replaces the default. What signs a URL (`X-Amz-Signature`, `sig`, `access_token`, ...) is redacted in "
        "any case.",
        "password, *token*, x-internal-*",
        dynamic=True,
    ),
    Option(
        "breakdown_metrics",
        parse.boolean(),
        "true",
        _METRICS,
        "Whether it is reported where the time of transactions goes, by kind of span.",
        "false",
    ),
    Option(
        "metrics_interval",
        parse.interval(),
        "30s",
        _METRICS,
        "How often metrics are reported; `0s` reports none.",
        "1m",
    ),
    Option(
        "disable_metrics",
        parse.wildcards(),
        None,
        _METRICS,
        "Metrics whose name matches are not reported.",
        "span.self_time.*",
    ),
    Option(
        "log_level",
        parse.choice(("trace", "debug", "info", "warning", "error", "critical", "off"), aliases={"warn": "warning"}),
        "info",
        _LOG,
        "What the agent logs about itself. It logs only if this option or `log_file` is set; without "
        "`log_file` it "
        "logs to standard error.",
        "debug",
        dynamic=True,
    ),
    Option("log_file", parse.path(), None, _LOG, "File for the agent's own log.", "/var/log/apm-run.log"),
)

#: The same rows by name.
BY_NAME: dict[str, Option] = {option.name: option for option in OPTIONS}
