"""Says and does with the API all that its pages tell; prints the same with ``apm-run`` and without."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import apm_run


@apm_run.start_span("rows", "app")
def rows(count: int) -> Iterator[int]:
    yield from range(count)


@apm_run.start_span("stream", "app")
async def stream(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


@apm_run.start_span(type="app")
def price(item: int) -> int:
    return item * 3


@apm_run.start_transaction("worker", "job")
async def worker(message: dict[str, str]) -> list[int]:
    apm_run.current_transaction().set_custom("message", message)
    async with apm_run.start_span("prepare"):
        await asyncio.sleep(0)
    return [number async for number in stream(2)]


def without_secrets(event: dict[str, Any]) -> dict[str, Any] | None:
    event.get("context", {}).get("tags", {}).pop("secret", None)
    return event


def without_noise(event: dict[str, Any]) -> dict[str, Any] | None:
    return None if event["name"] == "noise" else event


def main() -> None:
    apm_run.add_filter("transaction", without_secrets)
    apm_run.add_filter("transaction", without_noise)
    with apm_run.start_transaction("order", "shop") as transaction:
        transaction.set_label("secret", "sesame")
        transaction.set_label("items", 3)
        transaction.set_user("42", email="ada@example.com")
        transaction.result = "sold"
        with apm_run.start_span("GET prices", "external", "http", exit=True) as span:
            span.set_service_target("http", "prices:80")
            sent = span.outgoing_headers()
        print(sum(price(number) for number in rows(3)))
        thread = threading.Thread(target=apm_run.start_span("audit", parent=transaction)(lambda: None))
        thread.start()
        thread.join()
        try:
            raise LookupError("no such item")
        except LookupError:
            apm_run.capture_exception()
        apm_run.capture_message("item 7 is missing", param_message="item %s is missing")
        transaction.outcome = "success"
    with apm_run.start_transaction("noise"):
        pass
    with apm_run.start_transaction("delivery", parent=sent, links=[transaction]):
        pass
    print(asyncio.run(worker({"id": "1"})))
    print(apm_run.flush(20.0), apm_run.current_span(), bool(apm_run.current_span().id))


if __name__ == "__main__":
    main()
