"""The main job, as a user sees it: the shop under ``apm-run --local``, driven, and its page in a real browser."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "shop"))
import demo


@pytest.fixture
def shop(tmp_path):
    process, shop, url, log = demo.start(str(tmp_path))
    yield shop, url
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    assert "2 transactions" in log.read_text()


@pytest.mark.browser
def test_one_waterfall_holds_both_services(shop, browser_page, tmp_path):
    address, url = shop
    for request in ((1, "GET", "/products/1", None, 200), (1, "GET", "/report", None, 500)):
        demo.ask(address, request)
    page = browser_page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{url}/#/traces")
    page.get_by_text("GET /products/<int:product_id>").first.click()
    page.get_by_text("GET /prices/{product_id}").first.wait_for()
    text = page.inner_text("main")
    for part in ("shop", "prices", "SELECT FROM products", "GET 127.0.0.1", "SELECT FROM prices"):
        assert part in text
    page.screenshot(path=str(tmp_path / "waterfall.png"))
    page.get_by_text("SELECT FROM prices").first.click()
    page.get_by_text("select price from prices where product = ?").first.wait_for()
    page.goto(f"{url}/#/errors")
    page.get_by_text("ZeroDivisionError").first.click()
    page.get_by_text("sum(each.amount for each in orders) / len(orders)").first.wait_for()
    assert all(each.startswith((url, "data:")) for each in asked)
