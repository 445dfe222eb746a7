"""What the integration tests share with the others: the strict switch, the sink, the summary; and a browser."""

from __future__ import annotations

import os

import pytest
from tests.conftest import pytest_sessionfinish, pytest_terminal_summary, sink
from tests.local.test_page import ARGUMENTS, CHROMIUM

__all__ = ["browser_page", "pytest_sessionfinish", "pytest_terminal_summary", "sink"]


@pytest.fixture
def browser_page():
    """A page of a real Chromium."""
    if not os.path.exists(CHROMIUM):
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(15_000)
        yield page
        browser.close()
