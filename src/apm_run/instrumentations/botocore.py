"""botocore, and with it boto3, aiobotocore and aioboto3: a span per operation of a client, its attempts included."""

from __future__ import annotations

from apm_run.conventions import aws, aws_messages
from apm_run.instrument.vocabulary import Call, Instrumentation, SpanDraft, Target, Within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def request(call: Call) -> SpanDraft | None:
    """The span of a ``_make_api_call(operation_name, api_params)``."""
    operation = call.argument(1, "operation_name")
    if type(operation) is not str:
        return None
    meta = call.instance.meta
    service, place = meta.service_model, (meta.region_name, meta.endpoint_url)
    return aws.request(service.service_name, str(service.service_id), operation, call.argument(2, "api_params"), place)


def response(call: Call, result: Any, draft: SpanDraft) -> None:
    """The status, and where messages come from."""
    aws.response(draft, result)
    if draft.action == "receive":
        aws_messages.received(draft, call.argument(2, "api_params"), result)
    elif draft.subtype == "sqs":
        aws_messages.sent(call.argument(2, "api_params"), result)


def attributes(call: Call, add: Mapping[str, str]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The call of ``serialize_to_request(parameters, operation_model)`` with the trace context in its messages.

    This late nobody sees it but the service: neither the program's own hooks nor botocore's Stubber.
    """
    operation = call.argument(2, "operation_model")
    service = operation.service_model.service_name
    known = service in aws_messages.SERVICES
    found = aws_messages.carrying(service, operation.name, call.argument(1, "parameters"), add) if known else None
    return None if found is None else call.replaced(1, "parameters", found)


_CLIENTS = ("botocore.client:BaseClient", "aiobotocore.client:AioBaseClient")
_SERIALIZERS = ("QuerySerializer", "JSONSerializer")

INSTRUMENTATION = Instrumentation(
    library="botocore",
    versions="1.20 to 1.43",
    targets=(
        *(Target(f"{name}._make_api_call", request, observe=response) for name in _CLIENTS),
        *(
            Within(f"botocore.serialize:{name}.serialize_to_request", *aws_messages.SERVICES, rewrite=attributes)
            for name in _SERIALIZERS
        ),
    ),
)
