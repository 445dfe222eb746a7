"""botocore, boto3 and aiobotocore against emulators of AWS (integration/services): they are not AWS."""

from __future__ import annotations

import asyncio
import copy
import inspect
import io
import json
import pickle
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import boto3
import botocore.client
import botocore.config
import botocore.exceptions
import pytest
from boto3.dynamodb.conditions import Key
from boto3.s3.transfer import TransferConfig
from botocore.stub import Stubber
from integration.services import free_port
from tests.instrumentations.recorder import instrumented, outcome
from tests.traced import bare, traced

REGION = "eu-west-1"
FILES = ("botocore", "urllib3", "http_client", "concurrent_futures", "threading")
CREDENTIALS = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": REGION}
#: It reads what it knows of a service once.
SESSION = boto3.session.Session()
#: One attempt, and not for long.
ONCE = botocore.config.Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=0.3)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Boto3 will no longer:Warning")


@pytest.fixture
def recorder():
    with instrumented(*FILES) as recorder:
        yield recorder


@pytest.fixture
def url(aws):
    return f"http://127.0.0.1:{aws.port}"


@pytest.fixture
def client(url):
    made = []

    def client(service, endpoint=url, **options):
        made.append(SESSION.client(service, endpoint_url=endpoint, **CREDENTIALS, **options))
        return made[-1]

    yield client
    for each in made:
        close = getattr(each, "close", None)  # since 1.22
        if close is not None:
            close()


def names(recorder):
    return [line.strip() for line in recorder.tree().splitlines()[1:]]


# S3


@pytest.fixture
def bucket(client):
    name = "products"
    s3 = client("s3")
    if name not in [each["Name"] for each in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


def test_s3_whole_span(recorder, client, bucket, aws):
    s3 = client("s3")
    with recorder.running():
        s3.put_object(Bucket=bucket, Key="a/b", Body=b"data")
        assert s3.get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"data"
    assert recorder.snapshot(aws.port)[1] == {
        "name": "S3 GetObject products",
        "type": "storage",
        "subtype": "s3",
        "action": "GetObject",
        "outcome": "success",
        "sync": True,
        "sample_rate": 1.0,
        "context": {
            "db": {"type": "s3", "instance": REGION},
            "service": {"target": {"type": "s3", "name": "products"}},
            "destination": {
                "address": "127.0.0.1",
                "port": 9999,
                "service": {"resource": "s3/products", "name": "", "type": ""},
            },
        },
        "otel": {"attributes": {"aws.s3.bucket": "products", "aws.s3.key": "a/b"}},
    }
    assert len(recorder.spans) == 2


def test_s3_names(recorder, client, bucket):
    s3 = client("s3")
    with recorder.running():
        s3.list_buckets()
        s3.get_waiter("bucket_exists").wait(Bucket=bucket)
        for number in range(3):
            s3.put_object(Bucket=bucket, Key=f"page/{number}", Body=b"")
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix="page/", PaginationConfig={"PageSize": 2}
        )
        assert [len(page["Contents"]) for page in pages] == [2, 1]
        s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert names(recorder) == [
        "S3 ListBuckets [storage/s3/ListBuckets] success",
        "S3 HeadBucket products [storage/s3/HeadBucket] success",
        *["S3 PutObject products [storage/s3/PutObject] success"] * 3,
        *["S3 ListObjectsV2 products [storage/s3/ListObjectsV2] success"] * 2,
    ]
    assert recorder.spans[0]["context"]["service"] == {"target": {"type": "s3"}}
    assert "otel" not in recorder.spans[0]


def test_s3_transfer_in_threads(recorder, client, bucket):
    s3 = client("s3")
    config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    data = b"x" * (12 << 20)
    target = io.BytesIO()
    with recorder.running() as transaction:
        s3.upload_fileobj(io.BytesIO(data), bucket, "big", Config=config)
        s3.download_fileobj(bucket, "big", target, Config=config)
    assert target.getvalue() == data
    found = [line.split()[1] for line in names(recorder)]
    assert found[:5] == ["CreateMultipartUpload", *["UploadPart"] * 3, "CompleteMultipartUpload"]
    assert found[5:] == ["HeadObject", *["GetObject"] * 3]
    assert {span["parent_id"] for span in recorder.spans} == {transaction.id}


def test_s3_resource(recorder, url, bucket):
    resource = SESSION.resource("s3", endpoint_url=url, **CREDENTIALS)
    with recorder.running():
        resource.Object(bucket, "k").put(Body=b"1")
        assert resource.Object(bucket, "k").get()["Body"].read() == b"1"
    assert names(recorder) == [
        "S3 PutObject products [storage/s3/PutObject] success",
        "S3 GetObject products [storage/s3/GetObject] success",
    ]


def test_requests_take_no_trace_context_along(recorder, client, bucket):
    """They are signed, and nobody there would read it; the span can be compressed, since it has told nobody its id."""
    seen = []
    s3 = client("s3")
    s3.meta.events.register("before-send.s3", lambda request, **_: seen.append(dict(request.headers)))
    files = ("botocore", "urllib3", "http_client")
    options = {"span_compression_enabled": "true", "span_compression_exact_match_max_duration": "1m"}
    with instrumented(*files, **options) as compressing, compressing.running():
        for _ in range(3):
            s3.list_objects_v2(Bucket=bucket)
    assert len(seen) == 3
    assert not [name for headers in seen for name in headers if name.lower() in ("traceparent", "tracestate")]
    (span,) = compressing.spans
    assert (span["name"], span["composite"]["count"]) == ("S3 ListObjectsV2 products", 3)


# DynamoDB


@pytest.fixture
def table(client):
    dynamodb = client("dynamodb")
    name = "items"
    if name not in dynamodb.list_tables()["TableNames"]:
        dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    dynamodb.put_item(TableName=name, Item={"id": {"S": "1"}})
    return name


def test_dynamodb_whole_span(recorder, client, table, aws):
    dynamodb = client("dynamodb")
    with recorder.running():
        found = dynamodb.query(
            TableName=table,
            KeyConditionExpression="id = :id",
            ExpressionAttributeValues={":id": {"S": "1"}},
        )
    assert found["Count"] == 1
    assert recorder.snapshot(aws.port) == [
        {
            "name": "DynamoDB Query items",
            "type": "db",
            "subtype": "dynamodb",
            "action": "query",
            "outcome": "success",
            "sync": True,
            "sample_rate": 1.0,
            "context": {
                "db": {"type": "dynamodb", "instance": REGION, "statement": "id = :id"},
                "service": {"target": {"type": "dynamodb", "name": REGION}},
                "destination": {
                    "address": "127.0.0.1",
                    "port": 9999,
                    "service": {"resource": f"dynamodb/{REGION}", "name": "", "type": ""},
                },
            },
        }
    ]


def test_dynamodb_names(recorder, client, table, url):
    dynamodb = client("dynamodb")
    items = SESSION.resource("dynamodb", endpoint_url=url, **CREDENTIALS).Table(table)
    with recorder.running():
        dynamodb.list_tables()
        dynamodb.batch_get_item(RequestItems={table: {"Keys": [{"id": {"S": "1"}}]}})
        dynamodb.scan(TableName=table, FilterExpression="id = :id", ExpressionAttributeValues={":id": {"S": "1"}})
        assert items.query(KeyConditionExpression=Key("id").eq("1"))["Items"] == [{"id": "1"}]
        with items.batch_writer() as batch:
            batch.put_item(Item={"id": "2"})
        with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException):
            dynamodb.put_item(TableName=table, Item={"id": {"S": "1"}}, ConditionExpression="attribute_not_exists(id)")
    assert names(recorder) == [
        "DynamoDB ListTables [db/dynamodb/query] success",
        "DynamoDB BatchGetItem [db/dynamodb/query] success",
        "DynamoDB Scan items [db/dynamodb/query] success",
        "DynamoDB Query items [db/dynamodb/query] success",
        "DynamoDB BatchWriteItem [db/dynamodb/query] success",
        "DynamoDB PutItem items [db/dynamodb/query] failure",
    ]
    statements = [span["context"]["db"].get("statement") for span in recorder.spans]
    assert statements == [None, None, None, "#n0 = :v0", None, None]


# SQS and SNS


@pytest.fixture
def queue(client, request):
    sqs = client("sqs")
    url = sqs.create_queue(QueueName=f"queue-{abs(hash(request.node.nodeid))}")["QueueUrl"]
    yield url
    sqs.delete_queue(QueueUrl=url)


def short(queue):
    return queue.rpartition("/")[2]


def parent(span):
    return f"00-{span['trace_id']}-{span['id']}-01"


def test_sqs_whole_spans(recorder, client, queue, aws):
    sqs = client("sqs")
    with recorder.running():
        sqs.send_message(QueueUrl=queue, MessageBody="one")
        received = sqs.receive_message(QueueUrl=queue)["Messages"]
    send, receive = recorder.snapshot(aws.port)
    assert send == {
        "name": f"SQS SEND to {short(queue)}",
        "type": "messaging",
        "subtype": "sqs",
        "action": "send",
        "outcome": "success",
        "sync": True,
        "sample_rate": 1.0,
        "context": {
            "message": {"queue": {"name": short(queue)}},
            "service": {"target": {"type": "sqs", "name": short(queue)}},
            "destination": {
                "address": "127.0.0.1",
                "port": 9999,
                "service": {"resource": f"sqs/{short(queue)}", "name": "", "type": ""},
            },
        },
    }
    sent = recorder.spans[0]
    assert receive == {
        **send,
        "name": f"SQS RECEIVE from {short(queue)}",
        "action": "receive",
        "links": [{"trace_id": sent["trace_id"], "span_id": sent["id"]}],
    }
    # What only we have asked for is not there.
    assert [sorted(message) for message in received] == [["Body", "MD5OfBody", "MessageId", "ReceiptHandle"]]


def test_sqs_names(recorder, client, queue):
    sqs = client("sqs")
    with recorder.running():
        sent = [{"Id": str(number), "MessageBody": "many"} for number in range(3)]
        sqs.send_message_batch(QueueUrl=queue, Entries=sent)
        received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
        assert len(received) == 3
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=received[0]["ReceiptHandle"])
        rest = [{"Id": str(at), "ReceiptHandle": each["ReceiptHandle"]} for at, each in enumerate(received[1:])]
        sqs.delete_message_batch(QueueUrl=queue, Entries=rest)
        assert "Messages" not in sqs.receive_message(QueueUrl=queue)
        sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])
    name = short(queue)
    assert names(recorder) == [
        f"SQS SEND_BATCH to {name} [messaging/sqs/send_batch] success",
        f"SQS RECEIVE from {name} [messaging/sqs/receive] success",
        f"SQS DELETE from {name} [messaging/sqs/delete] success",
        f"SQS DELETE_BATCH from {name} [messaging/sqs/delete_batch] success",
        f"SQS RECEIVE from {name} [messaging/sqs/receive] success",
        "SQS:GetQueueAttributes [external/http/GetQueueAttributes] success",
    ]
    batch = recorder.spans[0]
    assert recorder.spans[1]["links"] == [{"trace_id": batch["trace_id"], "span_id": batch["id"]}] * 3
    assert sent == [{"Id": str(number), "MessageBody": "many"} for number in range(3)]


def test_the_trace_context_is_an_attribute(recorder, client, queue):
    sqs = client("sqs")
    own = {"color": {"DataType": "String", "StringValue": "red"}}
    given = copy.deepcopy(own)
    with recorder.running():
        sqs.send_message(QueueUrl=queue, MessageBody="one", MessageAttributes=given)
    assert given == own
    (message,) = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"])["Messages"]
    found = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert found == {"color": "red", "traceparent": parent(recorder.spans[0]), "tracestate": "es=s:1"}


@pytest.mark.parametrize(
    ("asked", "seen", "linked"),
    [
        (None, set(), True),
        ([], set(), True),
        (["All"], {"color", "traceparent", "tracestate"}, True),
        (["color"], {"color"}, False),
        (["traceparent"], {"traceparent"}, True),
        (["none"], set(), False),
    ],
)
def test_the_program_receives_what_it_asks_for(recorder, client, queue, asked, seen, linked):
    sqs = client("sqs")
    with recorder.running():
        sqs.send_message(
            QueueUrl=queue,
            MessageBody="one",
            MessageAttributes={"color": {"DataType": "String", "StringValue": "red"}},
        )
    rest = {} if asked is None else {"MessageAttributeNames": asked}
    bare_message = sqs.receive_message(QueueUrl=queue, VisibilityTimeout=0, **rest)["Messages"][0]
    with recorder.running():
        message = sqs.receive_message(QueueUrl=queue, **rest)["Messages"][0]
    assert set(message.get("MessageAttributes", ())) == seen
    for each in (message, bare_message):
        del each["ReceiptHandle"]
    assert message == bare_message
    sent, received = recorder.spans
    assert received.get("links") == ([{"trace_id": sent["trace_id"], "span_id": sent["id"]}] if linked else None)


@pytest.mark.parametrize(("own", "expected"), [(8, 10), (9, 10), (10, 10)])
def test_no_more_than_ten_attributes(recorder, client, queue, own, expected):
    sqs = client("sqs")
    given = {f"a{number}": {"DataType": "String", "StringValue": "x"} for number in range(own)}
    with recorder.running():
        sqs.send_message(QueueUrl=queue, MessageBody="one", MessageAttributes=given)
    (message,) = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"])["Messages"]
    found = message["MessageAttributes"]
    assert len(found) == expected
    assert ("traceparent" in found, "tracestate" in found) == (own < 10, own < 9)


def test_what_sqs_answers_is_of_what_the_program_has_sent(recorder, client, queue):
    sqs = client("sqs")
    own = {
        "color": {"DataType": "String", "StringValue": "rot und grün"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\0\1"},
        "number": {"DataType": "Number.int", "StringValue": "5"},
    }
    entries = [{"Id": "1", "MessageBody": "a"}, {"Id": "2", "MessageBody": "b", "MessageAttributes": own}]

    def use():
        answers = [
            sqs.send_message(QueueUrl=queue, MessageBody="a"),
            sqs.send_message(QueueUrl=queue, MessageBody="b", MessageAttributes=own),
            *sqs.send_message_batch(QueueUrl=queue, Entries=entries)["Successful"],
        ]
        for answer in answers:
            answer.pop("ResponseMetadata", None)
            answer.pop("MessageId")
        return answers

    expected = use()
    assert ["MD5OfMessageAttributes" in answer for answer in expected] == [False, True, False, True]
    with recorder.running():
        assert use() == expected


def test_the_programs_own_trace_context_wins(recorder, client, queue):
    own = {"traceparent": {"DataType": "String", "StringValue": f"00-{'a' * 32}-{'b' * 16}-01"}}
    sqs = client("sqs")
    with recorder.running():
        sqs.send_message(QueueUrl=queue, MessageBody="one", MessageAttributes=own)
    (message,) = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"])["Messages"]
    assert message["MessageAttributes"] == own


def test_where_nothing_is_sampled(recorder, client, queue):
    sqs = client("sqs")
    with recorder.running(sampled=False) as transaction:
        sqs.send_message(QueueUrl=queue, MessageBody="one")
        sqs.receive_message(QueueUrl=queue, VisibilityTimeout=0)
    (message,) = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"])["Messages"]
    value = message["MessageAttributes"]["traceparent"]["StringValue"]
    assert value == f"00-{transaction.trace_id}-{transaction.id}-00"
    assert recorder.spans == []


def test_nothing_without_a_transaction(recorder, client, queue):
    sqs = client("sqs")
    sqs.send_message(QueueUrl=queue, MessageBody="one")
    (message,) = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"])["Messages"]
    assert "MessageAttributes" not in message
    assert recorder.spans == []


def test_a_message_as_large_as_may_be_goes_as_it_is(recorder, client, queue):
    sqs = client("sqs")
    with recorder.running():
        sqs.send_message(QueueUrl=queue, MessageBody="x" * (1 << 18))
    (message,) = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"])["Messages"]
    assert "MessageAttributes" not in message


def test_the_stubber_sees_the_programs_parameters(recorder, client):
    sqs = client("sqs")
    answer = {"Messages": [{"Body": "one", "MessageAttributes": {"a": {"DataType": "String", "StringValue": "b"}}}]}
    with Stubber(sqs) as stub:
        stub.add_response("send_message", {"MessageId": "1"}, {"QueueUrl": "http://q/1/name", "MessageBody": "b"})
        stub.add_response("receive_message", answer, {"QueueUrl": "http://q/1/name"})
        with recorder.running():
            assert sqs.send_message(QueueUrl="http://q/1/name", MessageBody="b") == {"MessageId": "1"}
            assert sqs.receive_message(QueueUrl="http://q/1/name") == answer
    assert [line.partition(" [")[0] for line in names(recorder)] == ["SQS SEND to name", "SQS RECEIVE from name"]


def test_sns(recorder, client, queue):
    sns, sqs = client("sns"), client("sqs")
    topic = sns.create_topic(Name="prices")["TopicArn"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    with recorder.running():
        sns.publish(TopicArn=topic, Message="news")
        sns.publish(PhoneNumber="+15005550006", Message="hello")
        sns.publish(TargetArn=topic, Message="more")
        received = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"], MaxNumberOfMessages=10)
    found = {message["Body"]: message.get("MessageAttributes", {}) for message in received["Messages"]}
    assert found["news"]["traceparent"]["StringValue"] == parent(recorder.spans[0])
    assert names(recorder) == [
        "SNS PUBLISH to prices [messaging/sns/publish] success",
        "SNS PUBLISH to [PHONENUMBER] [messaging/sns/publish] success",
        "SNS PUBLISH to prices [messaging/sns/publish] success",
        f"SQS RECEIVE from {short(queue)} [messaging/sqs/receive] success",
    ]
    assert recorder.spans[0]["context"]["message"] == {"queue": {"name": "prices"}}
    assert "5005550006" not in json.dumps(recorder.spans)


# Other services, and failures


def test_another_service(recorder, client, aws):
    with recorder.running():
        client("kms").list_keys()
    assert recorder.snapshot(aws.port) == [
        {
            "name": "KMS:ListKeys",
            "type": "external",
            "subtype": "http",
            "action": "ListKeys",
            "outcome": "success",
            "sync": True,
            "sample_rate": 1.0,
            "context": {
                "http": {
                    "url": "http://127.0.0.1:9999",
                    "status_code": 200,
                    "response": {"status_code": 200},
                },
                "service": {"target": {"type": "http", "name": "127.0.0.1:9999"}},
                "destination": {
                    "address": "127.0.0.1",
                    "port": 9999,
                    "service": {"resource": "127.0.0.1:9999", "name": "", "type": ""},
                },
            },
        }
    ]


def test_errors_of_the_service(recorder, client, bucket):
    def use(service, method, **params):
        return outcome(lambda: (_ for _ in ()).throw(caught(getattr(client(service), method), **params)))

    def caught(call, **params):
        with pytest.raises(botocore.exceptions.ClientError) as error:
            call(**params)
        assert error.value.__traceback__ is not None
        return error.value

    wrong = [
        ("s3", "get_object", {"Bucket": bucket, "Key": "none"}),
        ("s3", "head_object", {"Bucket": bucket, "Key": "none"}),
        ("dynamodb", "get_item", {"TableName": "none", "Key": {"id": {"S": "1"}}}),
        ("sqs", "send_message", {"QueueUrl": "http://127.0.0.1:1/000000000000/none", "MessageBody": "x"}),
        ("kms", "describe_key", {"KeyId": "12345678-1234-1234-1234-123456789012"}),
    ]
    bare_texts = [use(service, method, **params) for service, method, params in wrong]
    with recorder.running():
        texts = [use(service, method, **params) for service, method, params in wrong]
    assert texts == bare_texts
    assert [line.rpartition(" ")[2] for line in names(recorder)] == ["failure"] * 5
    assert recorder.spans[-1]["context"]["http"]["status_code"] == 400


def test_failures_before_and_below(recorder, client):
    """Parameters that are refused, nobody who listens, no answer: the library's own exceptions."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        silent = f"http://127.0.0.1:{listener.getsockname()[1]}"
        down = f"http://127.0.0.1:{free_port()}"
        calls = {
            "ParamValidationError": lambda: client("kms").encrypt(KeyId=5),
            "EndpointConnectionError": lambda: client("s3", down, config=ONCE).list_buckets(),
            "ReadTimeoutError": lambda: client("dynamodb", silent, config=ONCE).list_tables(),
        }
        expected = {name: outcome(call) for name, call in calls.items()}
        with recorder.running():
            assert {name: outcome(call) for name, call in calls.items()} == expected
    for name, text in expected.items():
        assert name in text
    assert [line.rpartition(" ")[2] for line in names(recorder)] == ["failure"] * 3


def test_no_credentials(recorder, url, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "CONFIG_FILE": "/none",
        "SHARED_CREDENTIALS_FILE": "/none",
        "EC2_METADATA_DISABLED": "1",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value if value != "1" else "true")
    s3 = boto3.session.Session().client("s3", endpoint_url=url, region_name=REGION)
    with recorder.running(), pytest.raises(botocore.exceptions.NoCredentialsError):
        s3.list_buckets()
    assert names(recorder) == ["S3 ListBuckets [storage/s3/ListBuckets] failure"]


def test_throttled(recorder, client, table):
    """A hook that answers for the service, each time."""
    dynamodb = client("dynamodb", config=botocore.config.Config(retries={"max_attempts": 1, "mode": "standard"}))
    told = json.dumps({"__type": "ThrottlingException", "message": "slower"}).encode()

    def throttle(request, **_):
        return botocore.awsrequest.AWSResponse(request.url, 400, {}, Raw(told))

    dynamodb.meta.events.register("before-send.dynamodb", throttle)
    with recorder.running(), pytest.raises(botocore.exceptions.ClientError) as caught:
        dynamodb.describe_table(TableName=table)
    assert caught.value.response["Error"]["Code"] == "ThrottlingException"
    assert names(recorder) == ["DynamoDB DescribeTable items [db/dynamodb/query] failure"]


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((5, {}), {}), (("NoSuch", {}), {}), (("ListBuckets", 5), {}), ((), {"x": 1})]
)
def test_wrong_arguments(recorder, client, args, kwargs):
    s3 = client("s3")
    expected = outcome(lambda: s3._make_api_call(*args, **kwargs))
    with recorder.running():
        assert outcome(lambda: s3._make_api_call(*args, **kwargs)) == expected
    assert "raised" in expected


def test_retries_are_one_span(recorder, client, bucket):
    """Throttled twice by a hook that answers for the service, and answered then."""
    s3 = client("s3", config=botocore.config.Config(retries={"max_attempts": 4, "mode": "standard"}))
    answers = iter([503, 503])

    def throttle(request, **_):
        status = next(answers, None)
        if status is None:
            return None
        return botocore.awsrequest.AWSResponse(request.url, status, {}, Raw(b""))

    s3.meta.events.register("before-send.s3", throttle)
    with recorder.running():
        s3.list_objects_v2(Bucket=bucket)
    assert names(recorder) == ["S3 ListObjectsV2 products [storage/s3/ListObjectsV2] success"]


class Raw(io.BytesIO):
    def stream(self, **_):
        yield self.read()


def test_many_threads_do_not_mix(recorder, client, bucket):
    s3 = client("s3")
    together = threading.Barrier(10)

    def one(number):
        together.wait(10)
        with recorder.running(f"request {number}") as transaction:
            s3.list_objects_v2(Bucket=bucket)
            s3.head_bucket(Bucket=bucket)
        return transaction.id

    with ThreadPoolExecutor(10) as pool:
        ids = list(pool.map(one, range(10)))
    assert sorted(span["transaction_id"] for span in recorder.spans) == sorted(ids * 2)


def test_the_client_looks_as_it_is(recorder, client):
    function = botocore.client.BaseClient._make_api_call
    assert list(inspect.signature(function).parameters) == ["self", "operation_name", "api_params"]
    assert pickle.loads(pickle.dumps(function)) is function
    assert type(client("sqs")).__mro__[1] is botocore.client.BaseClient


def test_a_signed_url_is_as_without_us(recorder, client, queue):
    sqs = client("sqs")
    with recorder.running():
        url = sqs.generate_presigned_url("send_message", Params={"QueueUrl": queue, "MessageBody": "one"})
    assert "traceparent" not in url
    assert recorder.spans == []


# aiobotocore


def test_aiobotocore(recorder, url, bucket, queue):
    session = pytest.importorskip("aiobotocore.session").get_session()

    async def main():
        rest = {"endpoint_url": url, **CREDENTIALS}
        async with session.create_client("s3", **rest) as s3, session.create_client("sqs", **rest) as sqs:
            await s3.put_object(Bucket=bucket, Key="k", Body=b"1")
            with pytest.raises(s3.exceptions.NoSuchKey):
                await s3.get_object(Bucket=bucket, Key="none")
            await sqs.send_message(QueueUrl=queue, MessageBody="one")
            return await sqs.receive_message(QueueUrl=queue)

    with recorder.running():
        received = asyncio.run(main())
    assert names(recorder) == [
        "S3 PutObject products [storage/s3/PutObject] success",
        "S3 GetObject products [storage/s3/GetObject] failure",
        f"SQS SEND to {short(queue)} [messaging/sqs/send] success",
        f"SQS RECEIVE from {short(queue)} [messaging/sqs/receive] success",
    ]
    *_, sent, got = recorder.spans
    assert (sent["sync"], got["links"]) == (False, [{"trace_id": sent["trace_id"], "span_id": sent["id"]}])
    assert "MessageAttributes" not in received["Messages"][0]


def test_aiobotocore_cancelled(recorder):
    session = pytest.importorskip("aiobotocore.session").get_session()

    async def main(silent):
        async with session.create_client("s3", endpoint_url=silent, **CREDENTIALS) as s3:
            task = asyncio.ensure_future(s3.list_buckets())
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with recorder.running():
            asyncio.run(main(f"http://127.0.0.1:{listener.getsockname()[1]}"))
    assert names(recorder) == ["S3 ListBuckets [storage/s3/ListBuckets] unknown"]


@pytest.mark.skipif(find_spec("aioboto3") is None, reason="aioboto3 wants an older botocore: a release of its own")
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_aioboto3(recorder, url, bucket):
    import aioboto3

    async def main():
        async with aioboto3.Session().resource("s3", endpoint_url=url, **CREDENTIALS) as s3:
            products = await s3.Bucket(bucket)
            await products.upload_fileobj(io.BytesIO(b"x" * (9 << 20)), "async")
            return [each.key async for each in products.objects.filter(Prefix="async")]

    with recorder.running():
        assert asyncio.run(main()) == ["async"]
    found = [line.split()[1] for line in names(recorder)]
    assert {"CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"} <= set(found)
    assert {line.partition(" ")[0] for line in names(recorder)} == {"S3"}


# A whole program

PROGRAM = """
import boto3

rest = dict(endpoint_url="{url}", aws_access_key_id="k", aws_secret_access_key="s", region_name="eu-west-1")
s3 = boto3.client("s3", **rest)
print([each["Name"] for each in s3.list_buckets()["Buckets"]])
try:
    s3.get_object(Bucket="{bucket}", Key="none")
except s3.exceptions.NoSuchKey as error:
    print(type(error), error)
sqs = boto3.client("sqs", **rest)
sqs.send_message(QueueUrl="{queue}", MessageBody="one")
message, = sqs.receive_message(QueueUrl="{queue}")["Messages"]
print(sorted(message), message["Body"])
sqs.delete_message(QueueUrl="{queue}", ReceiptHandle=message["ReceiptHandle"])
s3.head_bucket(Bucket="no-such-bucket")
"""


def test_a_whole_program(url, bucket, queue, sink, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(url=url, bucket=bucket, queue=queue))
    plain, done = bare("python", program), traced("python", program, url=sink.url)
    assert plain.returncode == done.returncode == 1
    assert done.stdout == plain.stdout
    assert plain.stderr.splitlines()[-1] == done.stderr.splitlines()[-1]
    if sys.version_info >= (3, 11):
        assert done.stderr == plain.stderr
    sink.wait(lambda sink: sink.transactions and len(sink.spans) >= 6)
    assert [line.partition(" [")[0].strip() for line in sink.tree().splitlines()] == [
        "program.py",
        "S3 ListBuckets",
        "S3 GetObject products",
        f"SQS SEND to {short(queue)}",
        f"SQS RECEIVE from {short(queue)}",
        f"SQS DELETE from {short(queue)}",
        "S3 HeadBucket no-such-bucket",
    ]
