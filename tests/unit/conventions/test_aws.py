"""What calls to AWS are named, and how messages carry trace context (spec 18.2, 18.3)."""

from __future__ import annotations

import pytest

from apm_run import log
from apm_run.conventions import aws, aws_messages

ENDPOINT = "https://service.eu-west-1.amazonaws.com"
ADD = {"traceparent": "00-...", "tracestate": "es=s:1", "baggage": "a=b"}
ATTRIBUTES = {
    "traceparent": {"DataType": "String", "StringValue": "00-..."},
    "tracestate": {"DataType": "String", "StringValue": "es=s:1"},
}


def request(service, operation, params=None, endpoint=ENDPOINT):
    return aws.request(service, service.upper(), operation, params, ("eu-west-1", endpoint))


@pytest.mark.parametrize(
    ("bucket", "name"),
    [
        ("products", "products"),
        ("arn:aws:s3:us-west-2:123456789012:accesspoint/slashes", "accesspoint/slashes"),
        ("arn:aws:s3:us-west-2:123456789012:accesspoint:colons", "accesspoint:colons"),
        ("arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-1/accesspoint/outside", "accesspoint/outside"),
        ("arn:aws:s3:::products", "products"),
    ],
)
def test_buckets_and_access_points(bucket, name):
    draft = request("s3", "GetObject", {"Bucket": bucket, "Key": "a/b"})
    assert (draft.name, draft.type, draft.subtype, draft.action) == (
        f"S3 GetObject {name}",
        "storage",
        "s3",
        "GetObject",
    )
    assert draft.target() == ("s3", name)
    assert draft.attributes == {"aws.s3.bucket": bucket, "aws.s3.key": "a/b"}
    assert (draft.address, draft.port, draft.sealed) == ("service.eu-west-1.amazonaws.com", 443, True)


@pytest.mark.parametrize("params", [None, {}, [], {"Bucket": 5}, {"Bucket": None, "Key": "k"}])
def test_no_bucket(params):
    draft = request("s3", "ListBuckets", params)
    assert (draft.name, draft.target(), draft.attributes) == ("S3 ListBuckets", ("s3", ""), None)


@pytest.mark.parametrize(
    ("operation", "params", "name"),
    [
        ("UpdateItem", {"TableName": "items"}, "DynamoDB UpdateItem items"),
        ("GetItem", {"TableName": "arn:aws:dynamodb:eu-west-1:1:table/items"}, "DynamoDB GetItem items"),
        ("ExportTable", {"TableArn": "arn:aws:dynamodb:eu-west-1:1:table/items"}, "DynamoDB ExportTable items"),
        ("Restore", {"SourceTableArn": "arn:aws:dynamodb:eu-west-1:1:table/items/x/1"}, "DynamoDB Restore items"),
        ("GetItem", {"TableName": "arn:odd"}, "DynamoDB GetItem arn:odd"),
        ("BatchGetItem", {"RequestItems": {"items": {}}}, "DynamoDB BatchGetItem"),
        ("ExecuteStatement", {"Statement": "SELECT * FROM items"}, "DynamoDB ExecuteStatement"),
        ("GetItem", {"TableName": ""}, "DynamoDB GetItem"),
        ("GetItem", {"TableName": 5}, "DynamoDB GetItem"),
    ],
)
def test_tables(operation, params, name):
    draft = request("dynamodb", operation, params)
    assert (draft.name, draft.action, draft.target()) == (name, "query", ("dynamodb", "eu-west-1"))
    assert "statement" not in draft.db


def test_the_statement_of_a_query_alone():
    params = {"TableName": "items", "KeyConditionExpression": "id = :id", "FilterExpression": "secret = :s"}
    assert request("dynamodb", "Query", params).db["statement"] == "id = :id"
    assert "statement" not in request("dynamodb", "Scan", params).db
    assert request("dynamodb", "Query", {"KeyConditionExpression": object()}).db["statement"] is None


@pytest.mark.parametrize(
    ("operation", "name", "action"),
    [
        ("SendMessage", "SQS SEND to orders.fifo", "send"),
        ("SendMessageBatch", "SQS SEND_BATCH to orders.fifo", "send_batch"),
        ("ReceiveMessage", "SQS RECEIVE from orders.fifo", "receive"),
        ("DeleteMessage", "SQS DELETE from orders.fifo", "delete"),
        ("DeleteMessageBatch", "SQS DELETE_BATCH from orders.fifo", "delete_batch"),
    ],
)
def test_queues(operation, name, action):
    draft = request("sqs", operation, {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/1/orders.fifo"})
    assert (draft.name, draft.type, draft.subtype, draft.action) == (name, "messaging", "sqs", action)
    assert draft.context == {"message": {"queue": {"name": "orders.fifo"}}}
    assert draft.target() == ("sqs", "orders.fifo")


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"TopicArn": "arn:aws:sns:us-east-2:123456789012:My-Topic"}, "My-Topic"),
        (
            {"TargetArn": "arn:aws:sns:us-west-2:123456789012:endpoint/GCM/gcmpushapp/5e3e9847-3183-3f18"},
            "endpoint/GCM/gcmpushapp",
        ),
        ({"TargetArn": "arn:aws:sns:us-east-2:123456789012:My-Topic"}, "My-Topic"),
        ({"PhoneNumber": "+15005550006"}, "[PHONENUMBER]"),
    ],
)
def test_topics(params, name):
    draft = request("sns", "Publish", params)
    assert (draft.name, draft.action, draft.target()) == (f"SNS PUBLISH to {name}", "publish", ("sns", name))


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        ("kms", "Decrypt", {}),
        ("sqs", "CreateQueue", {"QueueName": "orders"}),
        ("sqs", "SendMessage", {"QueueUrl": 5}),
        ("sns", "Publish", {"Message": "to nobody"}),
        ("sns", "CreateTopic", {"TopicArn": "a"}),
    ],
)
def test_other_operations_are_requests(service, operation, params):
    draft = request(service, operation, params)
    assert (draft.name, draft.type, draft.subtype) == (f"{service.upper()}:{operation}", "external", "http")
    assert (draft.action, draft.target()) == (operation, ("http", "service.eu-west-1.amazonaws.com:443"))
    aws.response(draft, {"ResponseMetadata": {"HTTPStatusCode": 204}})
    assert (draft.http["status_code"], draft.outcome) == (204, "success")


def test_a_status_of_an_exception():
    class Refused(Exception):
        response = {"ResponseMetadata": {"HTTPStatusCode": 403}}

    draft = request("kms", "Decrypt")
    aws.response(draft, Refused())
    assert (draft.http["status_code"], draft.outcome) == (403, "failure")
    draft = request("kms", "Decrypt")
    for result in (None, LookupError(), {}, {"ResponseMetadata": {}}):
        aws.response(draft, result)
    assert draft.outcome is None
    draft = request("s3", "GetObject")
    aws.response(draft, Refused())
    assert (draft.http, draft.outcome) == (None, None)


@pytest.mark.parametrize("endpoint", [None, 5, "", "nonsense", "ftp://host"])
def test_an_odd_endpoint(endpoint):
    draft = request("kms", "Decrypt", {}, endpoint)
    assert (draft.name, draft.address, draft.port, draft.http) == ("KMS:Decrypt", None, None, None)


def test_an_endpoint_by_its_address():
    draft = request("kms", "Decrypt", {}, "http://[::1]:4566")
    assert (draft.address, draft.port, draft.http["host"]) == ("::1", 4566, "[::1]:4566")


# Messages that are sent


def test_a_message_carries_the_trace_context():
    given = {"QueueUrl": "q", "MessageBody": "b", "MessageAttributes": {"a": {}}}
    found = aws_messages.carrying("sqs", "SendMessage", given, ADD)
    assert found == {"QueueUrl": "q", "MessageBody": "b", "MessageAttributes": {"a": {}, **ATTRIBUTES}}
    assert given == {"QueueUrl": "q", "MessageBody": "b", "MessageAttributes": {"a": {}}}
    given = {"TopicArn": "arn:aws:sns:us-east-2:1:topic"}
    assert aws_messages.carrying("sns", "Publish", given, ADD) == {**given, "MessageAttributes": ATTRIBUTES}


def test_without_a_tracestate():
    found = aws_messages.carrying("sqs", "SendMessage", {}, {"traceparent": "00-...", "tracestate": ""})
    assert found == {"MessageAttributes": {"traceparent": ATTRIBUTES["traceparent"]}}


def test_each_message_of_a_batch_carries_it():
    entries = [{"Id": "1"}, {"Id": "2", "MessageAttributes": {"traceparent": {"StringValue": "own"}}}, 5]
    found = aws_messages.carrying("sqs", "SendMessageBatch", {"Entries": entries}, ADD)
    assert found == {"Entries": [{"Id": "1", "MessageAttributes": ATTRIBUTES}, entries[1], 5]}
    assert entries[0] == {"Id": "1"}


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        ("sqs", "SendMessage", None),
        ("sqs", "SendMessageBatch", {"Entries": "x"}),
        ("sqs", "SendMessageBatch", {}),
        ("sqs", "CreateQueue", {}),
        ("sns", "Publish", {"PhoneNumber": "+1"}),
        ("sns", "Publish", {"TargetArn": "arn:aws:sns:us-west-2:1:endpoint/GCM/app/1"}),
        ("sns", "Subscribe", {"TopicArn": "t"}),
        ("sqs", "ReceiveMessage", {"MessageAttributeNames": ["All"]}),
        ("sqs", "ReceiveMessage", {"MessageAttributeNames": ["color"]}),
    ],
)
def test_what_carries_nothing(service, operation, params):
    assert aws_messages.carrying(service, operation, params, ADD) is None


@pytest.mark.parametrize("own", [{"traceparent": {}}, "odd", 5])
def test_attributes_that_stay(own):
    given = {"MessageAttributes": own}
    assert aws_messages.carrying("sqs", "SendMessage", given, ADD) == given


def test_ten_attributes_are_all(monkeypatch):
    lines = []
    monkeypatch.setattr(log, "write", lambda *line: lines.append(line))
    nine = {str(number): {} for number in range(9)}
    found = aws_messages.carrying("sqs", "SendMessage", {"MessageAttributes": nine}, ADD)
    assert set(found["MessageAttributes"]) == {*nine, "traceparent"}
    assert lines == [("debug", "message.attributes", "No room for tracestate: 10 attributes are there")]


@pytest.mark.parametrize(
    ("size", "carries"),
    [
        (0, True),
        ((1 << 18) - 8192, True),
        ((1 << 18) - 8191, False),
        (1 << 18, False),
        ((1 << 18) + 1, True),
        (1 << 20, False),
    ],
)
def test_a_message_near_a_limit_has_no_room(size, carries):
    for params in (
        {"QueueUrl": "https://queue", "MessageBody": "x" * size},
        {"QueueUrl": "https://queue", "MessageBody": "", "MessageAttributes": {"": {"": b"x" * size}}},
    ):
        assert (aws_messages.carrying("sqs", "SendMessage", params, ADD) is not None) == carries
    entries = [{"MessageBody": "é" * (size // 4)}, {"MessageBody": "x" * (size - 2 * (size // 4))}]
    assert (aws_messages.carrying("sqs", "SendMessageBatch", {"Entries": entries}, ADD) is not None) == carries


def test_digests_are_of_what_the_program_has_sent():
    answer = {"MessageId": "1", "MD5OfMessageAttributes": "0" * 32}
    aws_messages.sent({"MessageBody": "b"}, answer)
    assert answer == {"MessageId": "1"}
    answer = {"MD5OfMessageAttributes": "0" * 32}
    aws_messages.sent({"MessageAttributes": {"a": {"DataType": "String", "StringValue": "x"}}}, answer)
    assert len(answer["MD5OfMessageAttributes"].strip("0")) > 20
    for params, result in ((None, answer), ({}, None), ({}, LookupError()), ({}, {"MD5OfMessageAttributes": "stub"})):
        kept = dict(result) if type(result) is dict else result
        aws_messages.sent(params, result)
        assert result == kept
    file = {"MessageAttributes": {"a": {"DataType": "Binary", "BinaryValue": open}}}
    answer = {"MD5OfMessageAttributes": "0" * 32}
    aws_messages.sent(file, answer)
    assert answer == {"MD5OfMessageAttributes": "0" * 32}
    batch = {"Successful": [{"Id": "1", "MD5OfMessageAttributes": "0" * 32}, {"Id": "9"}]}
    aws_messages.sent({"Entries": [{"Id": "1"}, 5]}, batch)
    assert batch == {"Successful": [{"Id": "1"}, {"Id": "9"}]}


# Messages that are received


def test_attributes_are_asked_for_where_the_program_wants_none():
    for params in ({"QueueUrl": "q"}, {"QueueUrl": "q", "MessageAttributeNames": []}):
        found = aws_messages.carrying("sqs", "ReceiveMessage", params, ADD)
        assert found == {"QueueUrl": "q", "MessageAttributeNames": ["traceparent", "tracestate"]}


def received(params, *messages):
    draft = request("sqs", "ReceiveMessage", {"QueueUrl": "https://sqs/1/q"})
    aws_messages.received(draft, params, {"Messages": list(messages)})
    return draft.links


def test_what_only_we_have_asked_for_is_taken_out():
    plain = {"Body": "a"}
    ours = {"Body": "b", "MessageAttributes": dict(ATTRIBUTES), "MD5OfMessageAttributes": "..."}
    more = {"Body": "c", "MessageAttributes": {**ATTRIBUTES, "a": {}}, "MD5OfMessageAttributes": "..."}
    links = received({"QueueUrl": "q"}, plain, ours, more)
    assert links == [{}, {"traceparent": ["00-..."], "tracestate": ["es=s:1"]}, links[1]]
    assert (plain, ours, sorted(more)) == (
        {"Body": "a"},
        {"Body": "b"},
        ["Body", "MD5OfMessageAttributes", "MessageAttributes"],
    )


def test_what_the_program_has_asked_for_stays():
    message = {"Body": "b", "MessageAttributes": dict(ATTRIBUTES), "MD5OfMessageAttributes": "..."}
    assert received({"MessageAttributeNames": ["All"]}, message) == [
        {"traceparent": ["00-..."], "tracestate": ["es=s:1"]}
    ]
    assert set(message) == {"Body", "MessageAttributes", "MD5OfMessageAttributes"}


def test_nothing_has_come():
    draft = request("sqs", "ReceiveMessage", {"QueueUrl": "https://sqs/1/q"})
    for result in ({}, {"Messages": []}, None, LookupError()):
        aws_messages.received(draft, {}, result)
    assert draft.links == ()


def test_binary_attributes_are_no_trace_context():
    message = {"MessageAttributes": {"traceparent": {"BinaryValue": b"00", "DataType": "Binary"}}}
    assert received({"MessageAttributeNames": ["All"]}, message) == [{}]
