"""The page in a real browser: what is seen, what is never executed, what is never asked for."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import pytest
from tests.local.traffic import error, metadata, send, span, transaction

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--disable-default-apps",
    "--disable-domain-reliability", "--no-pings", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]  # fmt: skip
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not os.path.exists(CHROMIUM), reason="chromium is not installed"),
    # One browser for the file: starting it costs more than all of these tests.
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(params=["light"])
def page(browser, receiver, request):
    """A page whose every request must go to the receiver and whose scripts must not fail."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=request.param)
    page = context.new_page()
    requests, problems = [], []
    page.on("request", lambda sent: requests.append(sent.url))
    page.on("pageerror", lambda failure: problems.append(str(failure)))
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))
    page.set_default_timeout(15_000)
    yield page
    context.close()
    foreign = {url for url in requests if urlsplit(url).netloc != f"127.0.0.1:{receiver.port}"}
    assert not foreign
    assert not problems
    assert requests


def shop_trace(receiver):
    """Two services in one trace, as the demo shop makes it; a failure with its cause; a log line."""
    root = transaction("POST /orders", outcome="failure", result="HTTP 5xx", duration=80)
    query = span(
        root, "SELECT FROM items", context={
            "db": {"type": "sql", "statement": "SELECT * FROM items WHERE id = ?"}, "tags": {"shard": "<b>7</b>"},
            "service": {"target": {"type": "sqlite", "name": "shop.db"}},
        },
    )  # fmt: skip
    call = span(
        root, "GET 127.0.0.1:9000", timestamp=root["transaction"]["timestamp"] + 7000,
        type="external", subtype="http", duration=40, outcome="failure",
        context={"http": {"url": "http://127.0.0.1:9000/price/7", "method": "GET", "status_code": 503}},
        stacktrace=[{"filename": "shop/app.py", "lineno": 42, "function": "price", "context_line": "    ask(url)",
                     "pre_context": ["def price(item):"], "post_context": ["    # done"]}],
    )  # fmt: skip
    there = transaction(
        "GET /price/{item}", trace_id=root["transaction"]["trace_id"], parent_id=call["span"]["id"], duration=30,
        timestamp=call["span"]["timestamp"] + 2000, outcome="failure",
    )  # fmt: skip
    frame = {"filename": "shop/app.py", "lineno": 61, "function": "order", "context_line": "    raise PriceError(7)",
             "pre_context": ["    total = 0"], "post_context": ["    return total"]}  # fmt: skip
    failure = error(
        root, culprit="shop.app.order",
        exception={"type": "PriceError", "message": "no price", "handled": False, "stacktrace": [frame],
                   "cause": [{"type": "HTTPError", "message": "503"}]},
    )  # fmt: skip
    log = {"log": {"message": "order failed", "log.level": "error", "trace.id": root["transaction"]["trace_id"]}}
    answer = send(receiver.port, metadata("shop"), root, query, call, failure, log)
    assert answer.status == 202, answer.body
    assert send(receiver.port, metadata("prices"), there, span(there, "SELECT FROM prices")).status == 202
    return root["transaction"]["trace_id"]


def texts(page, selector):
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


def test_the_empty_page_says_how_to_send_data_and_fills_by_itself(page, receiver):
    page.goto(receiver.url)
    page.wait_for_selector("text=Waiting for the first event")
    assert f"apm-run --server-url {receiver.url} python app.py" in page.inner_text("main")
    assert f"ELASTIC_APM_SERVER_URL={receiver.url}" in page.inner_text("main")
    shop_trace(receiver)
    page.wait_for_selector("tbody tr:nth-child(2)")
    assert texts(page, "tbody .service") == ["prices", "shop"]


def test_one_waterfall_holds_the_spans_of_both_services(page, receiver):
    trace = shop_trace(receiver)
    page.goto(f"{receiver.url}/#/traces")
    page.click("text=POST /orders")
    page.wait_for_selector(".waterfall")
    assert page.url.endswith(f"#/trace?id={trace}")
    assert texts(page, ".waterfall .title") == [
        "POST /orders", "SELECT FROM items", "GET 127.0.0.1:9000", "GET /price/{item}", "SELECT FROM prices",
    ]  # fmt: skip
    levels = [row.get_attribute("aria-level") for row in page.locator("a.row").all()]
    assert levels == ["1", "2", "2", "3", "4"]
    assert texts(page, ".legend .service") == ["shop", "prices"]
    # Bars lie inside their track, children not before their parents, each service in its own colour.
    boxes = [bar.bounding_box() for bar in page.locator(".track .bar").all()]
    track = page.locator(".track").first.bounding_box()
    assert all(track["x"] - 1 <= box["x"] <= track["x"] + track["width"] for box in boxes)
    assert boxes[0]["x"] <= boxes[2]["x"] <= boxes[3]["x"]
    assert boxes[0]["width"] > boxes[2]["width"] > boxes[3]["width"]
    colours = page.eval_on_selector_all(".track .bar", "bars => bars.map(bar => getComputedStyle(bar).backgroundColor)")
    assert colours[0] == colours[1] == colours[2] != colours[3] == colours[4]
    assert page.locator(".track .error").count() == 1


def test_details_of_a_span(page, receiver):
    trace = shop_trace(receiver)
    page.goto(f"{receiver.url}/#/trace?id={trace}")
    page.click("a.row:has-text('SELECT FROM items')")
    page.wait_for_selector("#drawer pre.statement")
    details = page.inner_text("#drawer")
    for text in ("SELECT * FROM items WHERE id = ?", "sqlite/shop.db", "<b>7</b>", "shard"):
        assert text in details
    page.click("a.row:has-text('GET 127.0.0.1:9000')")
    page.wait_for_selector("#drawer .source .here")
    details = page.inner_text("#drawer")
    for text in ("http://127.0.0.1:9000/price/7", "503", "shop/app.py"):
        assert text in details
    assert page.inner_text("#drawer .source .here").split() == ["42", "ask(url)"]
    # The address leads to the same place; Escape leads back, the focus to where it was.
    link = page.url
    page.keyboard.press("Escape")
    page.wait_for_selector("#drawer", state="hidden")
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_selector("#drawer .source .here")


def test_the_keyboard_walks_and_folds_the_tree(page, receiver):
    trace = shop_trace(receiver)
    page.goto(f"{receiver.url}/#/trace?id={trace}")
    page.wait_for_selector("a.row")
    from playwright.sync_api import expect

    page.focus("a.row")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    focused = "document.activeElement.querySelector('.title').textContent"
    assert page.evaluate(focused) == "GET 127.0.0.1:9000"
    page.keyboard.press("ArrowLeft")
    expect(page.locator("a.row")).to_have_count(3)
    assert page.evaluate(focused) == "GET 127.0.0.1:9000"
    page.keyboard.press("ArrowRight")
    expect(page.locator("a.row")).to_have_count(5)
    page.keyboard.press("Enter")
    page.wait_for_selector("#drawer h2:has-text('GET 127.0.0.1:9000')")


def test_errors_with_frames_and_source_lines(page, receiver):
    trace = shop_trace(receiver)
    page.goto(f"{receiver.url}/#/errors")
    page.click("text=PriceError")
    page.wait_for_selector(".source")
    shown = page.inner_text("main")
    for text in ("PriceError", "no price", "unhandled", "HTTPError", "shop.app.order"):
        assert text in shown
    lines = [line.split(None, 1) for line in texts(page, ".source div")]
    assert lines == [["60", "total = 0"], ["61", "raise PriceError(7)"], ["62", "return total"]]
    page.click("text=Show trace")
    page.wait_for_selector(".waterfall")
    assert trace in page.url
    page.click(".tabs a:has-text('Logs')")
    page.wait_for_selector("td:has-text('order failed')")


def test_transactions_of_a_service(page, receiver):
    shop_trace(receiver)
    send(receiver.port, metadata("shop"), *[transaction("GET /", duration=number) for number in range(1, 101)])
    page.goto(f"{receiver.url}/#/services")
    page.click("td a:has-text('shop')")
    page.wait_for_selector("tr:has-text('GET /')")
    (row,) = (text for text in texts(page, "tbody tr") if text.startswith("GET /"))
    cells = [cell.strip() for cell in row.split("\t")]
    assert (cells[2], cells[3], cells[6]) == ("50.5 ms", "95 ms", "100")
    page.click("tbody a:has-text('GET /')")
    page.wait_for_selector("svg.histogram rect")
    assert "p95 95 ms" in page.text_content("svg.histogram")
    page.click("tbody tr:first-child a")
    page.wait_for_selector("#drawer")


def test_dependencies_and_metrics(page, receiver):
    shop_trace(receiver)
    samples = [{"metricset": {"timestamp": 1_700_000_000_000_000 + number, "samples": {
        "system.process.memory.rss.bytes": {"value": 50 * 1024 * 1024 + number}}}} for number in range(3)]  # fmt: skip
    send(receiver.port, metadata("shop"), *samples)
    page.goto(f"{receiver.url}/#/dependencies")
    page.wait_for_selector("td:has-text('sqlite/shop.db')")
    page.goto(f"{receiver.url}/#/service?name=shop&tab=metrics")
    page.wait_for_selector("svg.line path.curve", state="attached")
    assert "50 MB" in page.inner_text("figure")


def test_hostile_events_stay_text(page, receiver):
    root = transaction(
        HOSTILE, result=HOSTILE, type=HOSTILE, context={"tags": {HOSTILE: HOSTILE}, "custom": {HOSTILE: 1}}
    )
    target = {"target": {"type": HOSTILE, "name": "x"}}
    frame = {"filename": HOSTILE, "context_line": HOSTILE, "lineno": 1, "vars": {HOSTILE: HOSTILE}}
    context = {"db": {"statement": HOSTILE}, "http": {"url": f"javascript:{HOSTILE}"}, "service": target}
    child = span(root, HOSTILE, type=HOSTILE, context=context, stacktrace=[frame])
    failure = error(root, culprit=HOSTILE, exception={"type": HOSTILE, "message": HOSTILE})
    log = {"log": {"message": HOSTILE, "log.level": HOSTILE, "trace.id": root["transaction"]["trace_id"]}}
    metric = {"metricset": {"samples": {HOSTILE.replace('"', ""): {"value": 1}}, "tags": {HOSTILE: HOSTILE}}}
    # A circle of parents, an event twice, and one that is its own parent.
    loop = transaction("loop", trace_id=root["transaction"]["trace_id"])
    loop["transaction"]["parent_id"] = loop["transaction"]["id"]
    one, other = span(root, "one"), span(root, "other")
    one["span"]["parent_id"], other["span"]["parent_id"] = other["span"]["id"], one["span"]["id"]
    lines = [root, child, failure, log, metric, loop, one, other, one]
    assert send(receiver.port, metadata("shop"), *lines, {HOSTILE.replace('"', "'"): 1}).json["accepted"] == 9
    trace = root["transaction"]["trace_id"]
    views = [
        "services", "traces", "errors", "dependencies", "logs", "rejected", "service?name=shop",
        "service?name=shop&tab=about", "service?name=shop&tab=metrics", f"trace?id={trace}",
        f"trace?id={trace}&item=transactions:1",
        f"trace?id={trace}&item=spans:1", f"trace?id={trace}&tab=errors&item=errors:1", f"trace?id={trace}&tab=logs",
        "transaction?service=shop&type=request&name=loop", f"service?name={HOSTILE}", "nonsense",
    ]  # fmt: skip
    for view in views:
        page.goto("about:blank")
        page.goto(f"{receiver.url}/#/{view}")
        page.wait_for_selector("main .view :is(table, .card, .waterfall, .metrics, .facts, .empty, .none)")
        if "item=" in view:
            page.wait_for_selector("#drawer .inside")
        assert "owned" not in page.title().replace(HOSTILE, "")
        assert page.locator("main script, main img, #drawer script, #drawer img").count() == 0
    page.goto(f"{receiver.url}/#/trace?id={trace}")
    page.wait_for_selector(".waterfall")
    assert sorted(texts(page, ".waterfall .title")) == sorted([HOSTILE, HOSTILE, "loop", "one", "other", "one"])


def test_a_live_update_keeps_focus_scroll_and_what_is_open(page, receiver):
    send(receiver.port, metadata("shop"), *[transaction(f"name {number}") for number in range(60)])
    page.goto(f"{receiver.url}/#/traces")
    page.wait_for_selector("tbody tr:nth-child(60)")
    page.fill(".filter", "name")
    page.evaluate("scrollTo(0, 600)")
    page.focus("tbody a:has-text('name 10')")
    page.evaluate("scrollTo(0, 600); window.kept = document.activeElement")
    width = page.evaluate("document.querySelector('thead th').getBoundingClientRect().width")
    send(receiver.port, metadata("shop"), transaction("name 60"))
    page.wait_for_selector("tbody tr:nth-child(61)")
    assert page.evaluate("document.activeElement === window.kept")
    assert page.evaluate("document.activeElement.textContent") == "name 10"
    assert page.input_value(".filter") == "name"
    assert abs(page.evaluate("scrollY") - 600) <= 60
    assert abs(page.evaluate("document.querySelector('thead th').getBoundingClientRect().width") - width) < 2


def test_pause_clear_and_rejected(page, receiver):
    page.goto(receiver.url)
    page.wait_for_selector("text=Waiting for the first event")
    assert page.locator("#rejected").is_hidden()
    page.click("#live")
    send(receiver.port, metadata("shop"), transaction(), {"tennis": {}})
    # Longer than one poll of the page takes: nothing else tells that it does not ask.
    page.wait_for_timeout(1500)
    assert page.is_visible("text=Waiting for the first event")
    page.click("#live")
    page.wait_for_selector("td a:has-text('shop')")
    page.click("#rejected")
    page.wait_for_selector("summary:has-text('did not recognize object type')")
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#clear")
    page.wait_for_selector("text=Waiting for the first event")


@pytest.mark.parametrize("page", ["dark"], indirect=True)
def test_the_dark_page_is_readable(page, receiver):
    """The contrast of text and ground, measured: at least 4.5 as WCAG asks."""
    trace = shop_trace(receiver)
    page.goto(f"{receiver.url}/#/trace?id={trace}&item=spans:1")
    page.wait_for_selector("#drawer .statement")
    ratio = page.evaluate("""() => {
      const light = (text) => {
        const parts = text.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
          .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
      };
      const ground = (element) => {
        const colour = getComputedStyle(element).backgroundColor;
        return colour === "rgba(0, 0, 0, 0)" && element.parentElement ? ground(element.parentElement) : colour;
      };
      const ratios = [...document.querySelectorAll("h1, dt, dd, .title, .time, .badge, pre, #nav a, .tabs a, button")]
        .filter((element) => element.offsetParent && element.textContent.trim())
        .map((element) => {
          const [one, other] = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
          return [(one + 0.05) / (other + 0.05), element.className + " " + element.textContent.slice(0, 20)];
        });
      return ratios.sort((a, b) => a[0] - b[0])[0];
    }""")
    assert ratio[0] >= 4.5, ratio


def test_an_open_trace_grows_and_is_left_alone_otherwise(page, receiver):
    from playwright.sync_api import expect

    root = transaction("POST /orders", duration=50)
    send(receiver.port, metadata("shop"), root, span(root, "first"))
    page.goto(f"{receiver.url}/#/trace?id={root['transaction']['trace_id']}")
    expect(page.locator("a.row")).to_have_count(2)
    page.evaluate("""() => {
      window.changes = 0;
      new MutationObserver(() => { window.changes += 1; })
        .observe(document.getElementById("main"), {subtree: true, childList: true, attributes: true});
    }""")
    with page.expect_response("**/api/trace?*"):
        send(receiver.port, metadata("shop"), transaction("another trace"))
    with page.expect_response("**/api/state?*"):
        pass
    assert page.evaluate("window.changes") == 0
    send(receiver.port, metadata("shop"), span(root, "second"))
    expect(page.locator("a.row")).to_have_count(3)
