"""Configuration: from the environment and a file to typed :class:`Settings` (spec.md section 4).

Precedence: environment, file, the OpenTelemetry names of spec.md section 3, default. A bad value falls to the
next source with one :class:`Problem`; it never affects another option and never raises.
"""

from __future__ import annotations

from apm_run.config.options import BY_NAME, OPTIONS, PREFIX, Option
from apm_run.config.parse import without_secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

    from apm_run.config.wildcard import Matcher

__all__ = ["BY_NAME", "OPTIONS", "PREFIX", "Option", "Problem", "Settings", "load"]

_REDACTED = "[REDACTED]"
#: Options that the launcher has words of its own for; the others are set by ``--set``.
_LAUNCHER = ("service_name", "environment", "server_url", "secret_token", "api_key", "log_level")
#: Option -> names in OTEL_RESOURCE_ATTRIBUTES, the better one first.
_RESOURCE = {
    "service_name": ("service.name",),
    "service_version": ("service.version",),
    "environment": ("deployment.environment.name", "deployment.environment"),
    "service_node_name": ("service.instance.id",),
}
#: How alike a name and an option are where the one is meant by the other (difflib): not capture_body, capture_headers.
_NEAR = 0.85
_NOTHING = object()


class Settings:
    """The value of every option, under the option's name.

    Units: ``*_duration`` are float milliseconds; ``*_timeout`` and ``*_time`` float seconds; sizes int bytes.
    Texts without a default are None when not set. Wildcards are compiled.
    """

    __slots__ = (*BY_NAME, "_sources")

    enabled: bool
    recording: bool
    instrument: bool
    disable_instrumentations: tuple[Matcher, ...]
    server_url: str
    secret_token: str | None
    api_key: str | None
    verify_server_cert: bool
    server_cert: str | None
    server_ca_cert_file: str | None
    use_certifi: bool
    server_timeout: float
    api_request_size: int
    api_request_time: float
    exit_timeout: float
    flush_on_os_exit: bool
    disable_send: bool
    skip_server_info: bool
    service_name: str | None
    service_version: str | None
    environment: str | None
    service_node_name: str | None
    hostname: str | None
    global_labels: dict[str, str]
    framework_name: str | None
    framework_version: str | None
    include_process_args: bool
    transaction_sample_rate: float
    transaction_max_spans: int
    exit_span_min_duration: float
    span_compression_enabled: bool
    span_compression_exact_match_max_duration: float
    span_compression_same_kind_max_duration: float
    trace_continuation_strategy: str
    baggage_to_attach: tuple[Matcher, ...]
    program_transaction_min_duration: float
    transaction_ignore_urls: tuple[Matcher, ...]
    transaction_ignore_user_agents: tuple[Matcher, ...]
    ignore_message_queues: tuple[Matcher, ...]
    transactions_ignore_patterns: tuple[re.Pattern[str], ...]
    transaction_name_groups: tuple[Matcher, ...]
    use_path_as_transaction_name: bool
    span_stack_trace_min_duration: float
    span_frames_min_duration: float | None
    stack_trace_limit: int
    source_lines_error_app_frames: int
    source_lines_error_library_frames: int
    source_lines_span_app_frames: int
    source_lines_span_library_frames: int
    include_paths: tuple[Matcher, ...]
    exclude_paths: tuple[Matcher, ...]
    collect_local_variables: str
    local_var_max_length: int
    local_var_list_max_length: int
    local_var_dict_max_length: int
    auto_log_stacks: bool
    mongodb_capture_statement_commands: tuple[Matcher, ...]
    filter_exception_types: tuple[Matcher, ...]
    capture_headers: bool
    capture_body: str
    capture_body_content_types: tuple[Matcher, ...]
    long_field_max_length: int
    elasticsearch_capture_body_urls: tuple[Matcher, ...]
    sanitize_field_names: tuple[Matcher, ...]
    breakdown_metrics: bool
    metrics_interval: float
    disable_metrics: tuple[Matcher, ...]
    log_level: str
    log_file: str | None

    def __init__(self, values: Mapping[str, object], sources: Mapping[str, tuple[str, str]]) -> None:
        """:param values: option -> typed value, complete. :param sources: option -> (origin, masked text)."""
        for name, value in values.items():
            setattr(self, name, value)
        self._sources = sources

    def origin(self, name: str) -> str:
        """Say where the value of option ``name`` comes from.

        One of ``default``, ``environment ELASTIC_APM_X``, ``option --service-name``, ``option --set``,
        ``file PATH``.
        """
        return self._sources.get(name, ("default",))[0]

    def shown(self, name: str) -> str:
        """Return the value of option ``name`` as the user wrote it, secrets masked; ``none`` without one."""
        source = self._sources.get(name)
        return _show(BY_NAME[name], BY_NAME[name].default) if source is None else source[1]

    def __repr__(self) -> str:
        texts = [f"{name}={self.shown(name)} ({self.origin(name)})" for name in self._sources]
        return f"Settings({', '.join(texts)})"


class Problem:
    """Something wrong with the configuration; its text is a warning of one line without any secret.

    :ivar option: name of the option, or of what else is wrong.
    :ivar value: the bad value as it may be shown, in quotes or masked; empty if the value does not matter.
    :ivar origin: where it comes from, as in :meth:`Settings.origin`.
    :ivar reason: what is wrong, as the rest of a sentence.
    :ivar used: what is used instead and where that comes from; empty if nothing.
    """

    __slots__ = ("option", "origin", "reason", "used", "value")

    def __init__(self, option: str, value: str, origin: str, reason: str, used: str = "") -> None:
        self.option = option
        self.value = value
        self.origin = origin
        self.reason = reason
        self.used = used

    def __str__(self) -> str:
        value = f": {self.value}" if self.value else ""
        used = f"; using {self.used}" if self.used else ""
        return f"{self.option}{value} ({self.origin}) {self.reason}{used}"

    def __repr__(self) -> str:
        return f"<Problem {self}>"


def load(environ: Mapping[str, str] | None = None) -> tuple[Settings, list[Problem]]:
    """Read all sources.

    :param environ: the environment; by default that of the process.
    :return: settings that are complete in any case, and what was wrong, in the order of the table.
    """
    if environ is None:
        import os

        environ = os.environ
    given = _given(environ)
    problems = [_unknown(name, "option --set") for name in given if name not in BY_NAME]
    config = environ.get("APM_RUN_CONFIG")
    entries = _file(config, problems) if config else {}
    otel = _otel(environ)
    values: dict[str, object] = {}
    sources: dict[str, tuple[str, str]] = {}
    for option in OPTIONS:
        name = option.name
        candidates = []
        raw: object = environ.get(option.variable)
        if raw is not None:
            candidates.append((_from_environment(option, given), raw))
        if name in entries:
            candidates.append((f"file {config}", entries[name]))
        if name in otel:
            candidates.append(otel[name])
        values[name] = _choose(option, candidates, sources, problems) if candidates else _default(option)
    _deprecated(values, sources)
    return Settings(values, sources), problems


def _given(environ: Mapping[str, str]) -> list[str]:
    """Return the names that the launcher's options have set."""
    return [name.strip().lower() for name in environ.get("APM_RUN_OPTIONS", "").split(",") if name.strip()]


def _deprecated(values: dict[str, object], sources: dict[str, tuple[str, str]]) -> None:
    """An older option says what its successor does not, where that is not set: in reverse at its two ends."""
    old = values["span_frames_min_duration"]
    if isinstance(old, float) and "span_stack_trace_min_duration" not in sources:
        values["span_stack_trace_min_duration"] = -1.0 if old == 0 else max(old, 0.0)
        sources["span_stack_trace_min_duration"] = sources["span_frames_min_duration"]


def _choose(
    option: Option,
    candidates: list[tuple[str, object]],
    sources: dict[str, tuple[str, str]],
    problems: list[Problem],
) -> object:
    """Return the first good value of ``candidates`` (origin, raw value), or the default."""
    bad: list[tuple[str, str, str]] = []
    value: object = _NOTHING
    for origin, raw in candidates:
        if isinstance(raw, str) and not option.kind.many and not raw.strip():
            continue  # an empty variable means "not set", as shells and compose files write it
        try:
            value = option.kind.parse(raw)
        except ValueError as error:
            bad.append((_quoted(option, raw), origin, str(error)))
            continue
        sources[option.name] = (origin, _show(option, raw))
        break
    if bad:
        origin, text = sources.get(option.name, ("default", _show(option, option.default)))
        problems.extend([Problem(option.name, *facts, used=f"{text} ({origin})") for facts in bad])
    return _default(option) if value is _NOTHING else value


def _default(option: Option) -> object:
    if option.default is None:
        return option.kind.parse("") if option.kind.many else None
    return option.kind.parse(option.default)


def _from_environment(option: Option, given: list[str]) -> str:
    if option.name not in given:
        return f"environment {option.variable}"
    word = option.name.replace("_", "-") if option.name in _LAUNCHER else "set"
    return f"option --{word}"


def _show(option: Option, raw: object) -> str:
    """Return ``raw`` for a message: one short line without secrets."""
    if raw is None:
        return "none"
    if option.secret:
        return _REDACTED
    text = str(raw).strip()
    return _line(without_secrets(text) if option.name == "server_url" else text)


def _quoted(option: Option, raw: object) -> str:
    return _REDACTED if option.secret else f'"{_show(option, raw)}"'


def _line(text: str) -> str:
    if len(text) > 100:
        text = text[:99] + "\u2026"
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _unknown(name: str, origin: str) -> Problem:
    """Make the problem of a name that is no option; its value may be a secret and is not looked at."""
    from difflib import get_close_matches

    near = get_close_matches(name.lower().replace("-", "_")[:100], BY_NAME, 1, _NEAR)
    hint = f"; did you mean {near[0]}?" if near else ""
    return Problem(_line(name), "", origin, f"is not an option of apm-run{hint}")


def unknown(environ: Mapping[str, str]) -> list[Problem]:
    """Variables that look like options and are none, for those who ask; other Elastic agents may have them."""
    known = {*BY_NAME, *_given(environ)}
    names = sorted(name for name in environ if name.startswith(PREFIX))
    names = [name for name in names if name[len(PREFIX) :].lower() not in known]
    return [_unknown(name[len(PREFIX) :].lower(), f"environment {name}") for name in names]


def _file(path: str, problems: list[Problem]) -> dict[str, object]:
    """Return the known options in the file; what is wrong with it goes to ``problems``."""
    from apm_run.config.file import read

    try:
        entries, foreign = read(path)
    except ValueError as error:
        problems.append(Problem("configuration file", f'"{_line(path)}"', "APM_RUN_CONFIG or --config", str(error)))
        return {}
    problems.extend([_unknown(name, f"file {path}") for name in foreign if name not in BY_NAME])
    return entries


def _otel(environ: Mapping[str, str]) -> dict[str, tuple[str, object]]:
    """Return what the OpenTelemetry variables say: option -> (origin, value)."""
    found: dict[str, tuple[str, object]] = {}
    text = environ.get("OTEL_RESOURCE_ATTRIBUTES")
    if text:
        from apm_run.config.resource import attributes

        resource = attributes(text)
        for option, names in _RESOURCE.items():
            for name in reversed(names):
                if resource.get(name):
                    found[option] = ("environment OTEL_RESOURCE_ATTRIBUTES", resource[name])
    service = environ.get("OTEL_SERVICE_NAME", "")
    if service.strip():
        found["service_name"] = ("environment OTEL_SERVICE_NAME", service)
    return found
