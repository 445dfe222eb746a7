"""Headers, by the published feature files where present (spec 1)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.export.support import event, exporter
from tests.servers import Server

FEATURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures" / "gherkin"


def scenarios(name: str):
    """(settings, expectation) of each scenario and example."""
    if not (FEATURES / name).exists():
        return
    for block in re.split(r"\n\s*Scenario(?: Outline)?: ", (FEATURES / name).read_text())[1:]:
        body, _, examples = block.partition("Examples:")
        tables = [
            [cell.strip() for cell in line.strip().strip("|").split("|")]
            for line in examples.splitlines()
            if "|" in line
        ]
        rows = [dict(zip(tables[0], row)) for row in tables[1:]] or [{}]
        for row in rows:
            text = body
            for key, value in row.items():
                text = text.replace(f"<{key}>", value)
            cells = [
                [cell.strip() for cell in line.strip().strip("|").split("|")]
                for line in text.splitlines()
                if "|" in line
            ]
            expected = next(line for line in text.splitlines() if "Then" in line)
            yield dict(cells[1:]), expected.partition("'")[2].rpartition("'")[0]


def sent(**options: str) -> dict[str, str]:
    with Server() as server, exporter(server.url, **options) as made:
        made.put(event(1), 1)
        made.close()
        return server.requests[0].headers


def cases(name: str):
    found = list(scenarios(name))
    return found or [pytest.param({}, "", marks=pytest.mark.skip(reason="../shared/fixtures is not here"))]


@pytest.mark.parametrize(("options", "expected"), cases("user_agent.feature"))
def test_user_agent_of_the_feature_file(options, expected):
    assert re.match(expected, sent(**options)["user-agent"])


@pytest.mark.parametrize(("options", "expected"), cases("api_key.feature"))
def test_authorization_of_the_feature_file(options, expected):
    assert sent(**options)["authorization"] == expected


def test_the_discovered_service_is_named_when_none_is_configured():
    assert re.fullmatch(r"apm-agent-python/\S+ \(shop\)", sent()["user-agent"])


def test_what_spec_1_asks_for():
    headers = sent()
    assert headers["accept"] == "application/json"
    assert headers["content-type"] == "application/x-ndjson"
    assert "content-encoding" not in headers, "not towards this machine"
    assert "authorization" not in headers


def test_a_path_prefix_is_kept_and_userinfo_is_basic_authorization():
    with Server() as server:
        url = server.url.replace("//", "//us%65r:p%40ss@") + "/apm/"
        with exporter(url) as made:
            made.put(event(1), 1)
            made.close()
        request = server.requests[0]
        assert request.line == "POST /apm/intake/v2/events HTTP/1.1"
        assert request.headers["authorization"] == "Basic dXNlcjpwQHNz"
        assert request.headers["host"] == f"127.0.0.1:{server.port}"
