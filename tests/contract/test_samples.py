"""The receiver answers the published sample streams as the table in the fixtures' README says."""

from __future__ import annotations

import http.client
import json

import pytest
from tests.receiver import SCHEMAS

from apm_run.local.server import Receiver

SAMPLES = SCHEMAS / "samples"
# Stream -> (status, accepted). Accepted is the number of events; the metadata line is none.
EXPECTED = {
    "minimal.ndjson": (202, 7),
    "minimal-service.ndjson": (202, 2),
    "events.ndjson": (202, 4),
    "transactions.ndjson": (202, 5),
    "transactions_spans.ndjson": (202, 9),
    "transactions-huge_traces.ndjson": (202, 1),
    "spans.ndjson": (202, 10),
    "span-links.ndjson": (202, 2),
    "unknown-span-type.ndjson": (202, 2),
    "errors.ndjson": (202, 5),
    "errors_2.ndjson": (202, 4),
    "errors_transaction_id.ndjson": (202, 1),
    # The last line ends with a stray backtick: the server's decoder does not look behind the first value.
    "metricsets.ndjson": (202, 6),
    "otel-bridge.ndjson": (202, 2),
    "logs.ndjson": (202, 7),
    "metadata.ndjson": (202, 0),
    "metadata-null-values.ndjson": (202, 1),
    "optional-timestamps.ndjson": (202, 3),
    "ratelimit.ndjson": (202, 19),
    "heavy.ndjson": (202, 1920),
    "invalid-event.ndjson": (400, 1),
    "invalid-event-type.ndjson": (400, 0),
    "invalid-json-event.ndjson": (400, 1),
    "invalid-metadata.ndjson": (400, 0),
    "invalid-metadata-2.ndjson": (400, 0),
}

pytestmark = pytest.mark.skipif(not SAMPLES.exists(), reason="../shared/fixtures/schema/samples is not here")


@pytest.fixture(scope="module")
def receiver():
    with Receiver(port=0) as receiver:
        yield receiver


def test_every_stream_is_expected():
    assert {path.name for path in SAMPLES.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_stream(receiver, name):
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=30)
    headers = {"Content-Type": "application/x-ndjson", "Accept": "application/json"}
    connection.request("POST", "/intake/v2/events?verbose", (SAMPLES / name).read_bytes(), headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    status, accepted = EXPECTED[name]
    assert (response.status, answer["accepted"]) == (status, accepted), answer
    if status == 202:
        assert set(answer) == {"accepted"}
    else:
        assert [set(error) for error in answer["errors"]] == [{"message", "document"}]
