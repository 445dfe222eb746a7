"""Requests to Elasticsearch: ``Elasticsearch: <METHOD> <path>``, the statement of searches (spec 18.2)."""

from __future__ import annotations

from apm_run.config.wildcard import any_match
from apm_run.conventions import http_client
from apm_run.intake.limits import LONG
from apm_run.model import FAILURE, SUCCESS, SpanDraft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.config import Settings

SUBTYPE = "elasticsearch"

#: Bytes of the longest character.
_WIDEST = 4


def request(method: Any, target: Any) -> SpanDraft | None:
    """The span of a request.

    :param target: the path, as it is sent, with or without a query; None where either is no text.
    """
    if type(method) is not str or type(target) is not str:
        return None
    path = target.partition("?")[0]
    return SpanDraft(
        f"Elasticsearch: {method} {path}",
        "db",
        SUBTYPE,
        "request",
        db={"type": SUBTYPE},
        http={"method": method, "target": target},
    )


def sent(draft: SpanDraft, node: Any, target: Any, body: Any, settings: Settings) -> bool:
    """Add what one attempt tells; the last one stays.

    :param body: as it is sent, before it is compressed.
    :returns: whether it is the request itself: the client may ask for its nodes or its product before or after.
    """
    if draft.http is None or draft.db is None or target != draft.http["target"]:
        return False
    located(draft, node)
    draft.outcome = None
    draft.http.pop("status_code", None)
    if body and any_match(settings.elasticsearch_capture_body_urls, target.partition("?")[0]):
        draft.db["statement"] = _text(body)
    return True


def located(draft: SpanDraft, node: Any) -> None:
    """Add which node was asked.

    :param node: the settings of one of elastic_transport's, or a connection of release 7, which have other names.
    """
    host = getattr(node, "hostname", None) or node.host
    port = node.port
    if draft.http is None or (port == draft.port and host == draft.address):
        return
    draft.address, draft.port = host, port
    prefix = getattr(node, "path_prefix", None) or getattr(node, "url_prefix", "")
    draft.http["url"] = http_client.absolute(node.scheme, host, port, f"{prefix}{draft.http['target']}")


def answered(draft: SpanDraft, status: Any, headers: Any) -> None:
    """Add the status, and the cluster that a cloud's proxy tells of.

    :param headers: a mapping; None where they are not known. A HEAD asks whether something exists: No is an answer.
    """
    if type(status) is int and draft.http is not None:
        draft.http["status_code"] = status
        missing = status == 404 and draft.http["method"] == "HEAD"
        draft.outcome = SUCCESS if status < 400 or missing else FAILURE
    if headers is not None:
        cluster = headers.get("x-found-handling-cluster")
        if type(cluster) is str:
            draft.target_name = cluster


def _text(body: Any) -> str | None:
    if type(body) is bytes:
        return body[: LONG * _WIDEST].decode("utf-8", "replace")
    return body[: LONG + 1] if type(body) is str else None
