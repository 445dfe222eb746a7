"""Calls to services of AWS (spec 18.2, 18.3): S3, DynamoDB, SQS and SNS by their rules, the others as requests.

None of them takes trace context along in its HTTP request, which is signed: messages carry it as attributes.
"""

from __future__ import annotations

from apm_run.conventions import aws_messages, http_client
from apm_run.model import SpanDraft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_POINT = "accesspoint"


def request(service: str, title: str, operation: str, params: Any, place: tuple[str | None, Any]) -> SpanDraft:
    """The span of a call.

    :param service: as botocore names it, such as ``s3``. :param title: as AWS does. :param params: of the operation.
    :param place: the region, and the endpoint's URL.
    """
    region, endpoint = place
    named = params if type(params) is dict else {}
    draft: SpanDraft | None = None
    if service == "s3":
        draft = _s3(operation, named, region)
    elif service == "dynamodb":
        draft = _dynamodb(operation, named, region)
    elif service in aws_messages.SERVICES:
        draft = aws_messages.request(service, operation, named)
    reached = http_client.location(endpoint)
    if draft is None:
        draft = SpanDraft(f"{title}:{operation}", "external", "http", operation)
        if reached is not None:
            draft.http = {"url": reached[0], "host": f"{reached[1]}:{reached[2]}"}
    if reached is not None:
        host, draft.port = reached[1:]
        draft.address = host[1:-1] if host[0] == "[" else host
    draft.sealed = True
    return draft


def response(draft: SpanDraft, result: Any) -> None:
    """Add the status, of a call that is shown as a request.

    :param result: what the operation returns, or the exception; botocore's own holds the same.
    """
    if draft.http is not None:
        found = result if type(result) is dict else getattr(result, "response", None)
        if type(found) is dict:
            http_client.response(draft, found.get("ResponseMetadata", {}).get("HTTPStatusCode"))


def _s3(operation: str, params: dict[str, Any], region: str | None) -> SpanDraft:
    bucket: Any = params.get("Bucket")
    key = params.get("Key")
    name = _bucket(bucket) if type(bucket) is str else ""
    draft = SpanDraft(
        f"S3 {operation} {name}" if name else f"S3 {operation}",
        "storage",
        "s3",
        operation,
        db={"type": "s3", "instance": region},
    )
    draft.target_name = name
    if name:
        draft.attributes = {"aws.s3.bucket": bucket}
        if type(key) is str:
            draft.attributes["aws.s3.key"] = key
    return draft


def _bucket(text: str) -> str:
    """A bucket, or the access point that an ARN names instead, as ``accesspoint/name`` or ``accesspoint:name``."""
    if not text.startswith("arn:"):
        return text
    at = text.find(_POINT)
    return text.rpartition(":")[2] if at < 0 else text[at:]


def _dynamodb(operation: str, params: dict[str, Any], region: str | None) -> SpanDraft:
    name = f"DynamoDB {operation}"
    for key in ("TableName", "TableArn", "SourceTableArn"):
        table = params.get(key)
        if type(table) is str and table:
            name = f"{name} {_table(table)}"
            break
    db: dict[str, Any] = {"type": "dynamodb", "instance": region}
    if operation == "Query":
        db["statement"] = _condition(params.get("KeyConditionExpression"))
    return SpanDraft(name, "db", "dynamodb", "query", db=db)


def _table(text: str) -> str:
    """A table's name, which may be given as its ARN: ``arn:aws:dynamodb:REGION:ACCOUNT:table/NAME``."""
    return text.partition(":table/")[2].partition("/")[0] or text if text.startswith("arn:") else text


def _condition(given: Any) -> str | None:
    """A condition as a text; boto3's own kind as the one that it is sent as."""
    if type(given) is str:
        return given
    if type(given).__module__ != "boto3.dynamodb.conditions":
        return None
    from boto3.dynamodb.conditions import ConditionExpressionBuilder

    found: str = ConditionExpressionBuilder().build_expression(given, is_key_condition=True).condition_expression
    return found
