"""Secrets planted in every place of a request are in no byte that is sent (spec 22; issue 4, sanitiser)."""

from __future__ import annotations

import json
import re
from urllib.parse import urlencode

import pytest
from tests.instrumentations.served import Served
from tests.receiver import Sink

FRAMEWORKS = {
    "flask": ("-m", "gunicorn", "-b", "127.0.0.1:0", "--threads", "4", "secrets_flask:app"),
    "starlette": ("-m", "uvicorn", "--port", "0", "secrets_starlette:app"),
    "fastapi": ("-m", "uvicorn", "--port", "0", "secrets_fastapi:app"),
}
OPTIONS = {
    "ELASTIC_APM_CAPTURE_BODY": "all",
    "ELASTIC_APM_CAPTURE_BODY_CONTENT_TYPES": "application/x-www-form-urlencoded*, application/json*, multipart/*",
}
HEADERS = [
    ("Authorization", "Bearer s3cr3t-authorization"),
    ("X-Api-Key", "s3cr3t-api-key"),
    ("X-Plain", "plain-request-header"),
    ("Cookie", "session=s3cr3t-cookie; csrf_token=s3cr3t-csrf; PHPSESSID=s3cr3t-php; theme=plain-cookie"),
    ("Referer", "https://me:s3cr3t-referer@plain-referer/?access_token=s3cr3t-referer-token&a=plain-referer-a"),
    ("Proxy-Authorization", "Basic s3cr3t-proxy"),
]
QUERY = {
    "q": "plain-query",
    "password": "s3cr3t-query",
    "X-Amz-Signature": "s3cr3t-presigned",
    "X-Amz-Credential": "s3cr3t-credential",
    "next": "https://me:s3cr3t-nested@plain-nested/?token=s3cr3t-nested-token",
}
DEEP = {
    "plain": "plain-json",
    "a": [{"b": {"password": "s3cr3t-json", "tokens": ["s3cr3t-list"]}}],
    "secret": {"x": "s3cr3t-object"},
}
MULTIPART = (
    '--b0\r\nContent-Disposition: form-data; name="plain"\r\n\r\nplain-multipart\r\n'
    '--b0\r\nContent-Disposition: form-data; name="password"\r\n\r\ns3cr3t-multipart\r\n'
    '--b0\r\nContent-Disposition: form-data; name="photo"; filename="plain-file.png"\r\n\r\ns3cr3t-file\r\n--b0--\r\n'
)
BODIES = {
    "json": ("application/json", json.dumps(DEEP), "plain-json"),
    "form": (
        "application/x-www-form-urlencoded",
        urlencode({"plain": "plain-form", "password": "s3cr3t-form"}),
        "plain-form",
    ),
    "multipart": ("multipart/form-data; boundary=b0", MULTIPART, "plain-multipart"),
}  # fmt: skip
#: What a transaction shows in any case, and its error too.
SHOWN = {"plain-request-header", "plain-cookie", "plain-referer", "plain-referer-a", "plain-query", "plain-nested"}


@pytest.fixture(scope="module", params=FRAMEWORKS)
def served(request):
    with Sink() as sink, Served(*FRAMEWORKS[request.param], sink=sink, env=OPTIONS) as served:
        yield served


@pytest.mark.parametrize("fails", [False, True], ids=["answers", "fails"])
@pytest.mark.parametrize("kind", BODIES)
def test_no_secret_in_any_byte(served, kind, fails):
    content_type, data, plain = BODIES[kind]
    query = urlencode({**QUERY, "fail": 1} if fails else QUERY)
    answer, trace = served.trace(
        "POST",
        f"/take/{kind}?{query}",
        [*HEADERS, ("Content-Type", content_type)],
        data.encode(),
        until=lambda trace: trace.transactions and (trace.errors or not fails),
    )
    assert answer.status == (500 if fails else 200)
    lines = [event.line for event in served._sink.events]
    assert not re.findall(rb"s3cr3t-[\w-]+", b"\n".join(lines))

    def shown(event):
        return set(re.findall(r"plain-[\w-]+", json.dumps(event)))

    responded = set() if fails else {"plain-response-header", "plain-location", "plain-link"}
    assert shown(trace.transaction) >= {*SHOWN, *responded, plain}
    if fails:
        (error,) = trace.errors
        assert shown(error["context"]) >= {*SHOWN, plain}
        assert error["context"]["request"] == trace.transaction["context"]["request"]
    assert set().union(*map(shown, trace.spans)) >= {"plain-dsn", "plain-host", "plain-client", "plain-parameter"}
    if kind == "multipart":
        assert trace.transaction["context"]["request"]["body"]["_files"] == {"photo": "plain-file.png"}


def test_a_setting_of_names_replaces_the_default():
    """Spec 22: what is not named any more is shown, and what is named is not."""
    options = {**OPTIONS, "ELASTIC_APM_SANITIZE_FIELD_NAMES": "plain"}
    with Sink() as sink, Served(*FRAMEWORKS["starlette"], sink=sink, env=options) as served:
        content_type, data, _ = BODIES["form"]
        _, trace = served.trace(
            "POST", "/take/form", [("X-Api-Key", "1"), ("Content-Type", content_type)], data.encode()
        )
        request = trace.transaction["context"]["request"]
        assert request["body"] == {"plain": "[REDACTED]", "password": "s3cr3t-form"}
        assert request["headers"]["x-api-key"] == "1"
