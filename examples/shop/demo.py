"""Run the shop under ``apm-run --local``, drive mixed traffic through it and see that every event arrives.

``python demo.py`` prints the page's address and stays until Ctrl-C; ``python demo.py --exit`` ends by itself, with
exit code 0 only if every expected event arrived.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent

#: (how often, method, path, body, status): one transaction of the shop each.
TRAFFIC = [
    (20, "GET", "/", None, 200),
    (20, "GET", "/products/1", None, 200),
    (10, "POST", "/orders", {"product_id": 3, "amount": 4}, 201),
    (5, "GET", "/latest", None, 200),
    (4, "GET", "/products/99", None, 404),
    (4, "GET", "/nothing", None, 404),
    (3, "GET", "/products/8", None, 500),
    (3, "POST", "/orders", {"product_id": 3, "amount": 1000}, 500),
    (2, "GET", "/report", None, 500),
]

#: What that makes: (service, transaction name) -> (transactions, failures).
TRANSACTIONS = {
    ("shop", "GET /"): (20, 0),
    ("shop", "GET /products/<int:product_id>"): (32, 3),
    ("shop", "POST /orders"): (13, 3),
    ("shop", "GET /latest"): (5, 0),
    ("shop", "GET unknown route"): (4, 0),
    ("shop", "GET /report"): (2, 2),
    ("prices", "GET /prices/{product_id}"): (28, 3),
    ("prices", "POST /quotes"): (13, 3),
}
#: (service, spans, errors). Of the shop: 20 products; 32 products, of which 28 have a price; 13 quotes, of which 10
#: become orders; 2 reports. Of the prices: one query each, but for the three orders that are too large.
TOTALS = {"shop": (20 + 32 + 28 + 13 + 10 + 2, 3 + 3 + 2), "prices": (28 + 10, 3)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"the services ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def ask(address: str, one: tuple) -> None:
    _, method, path, body, status = one
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if body else {}
    request = urllib.request.Request(address + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = answer.status
    except urllib.error.HTTPError as error:
        found = error.code
    if found != status:
        sys.exit(f"{method} {path} answered {found}, not {status}")


def page(url: str, name: str):
    with urllib.request.urlopen(f"{url}/api/{name}", timeout=10) as answer:
        return json.load(answer)


def arrived(url: str) -> list:
    """What is missing, or too many, at the receiver."""
    found = {
        (each["service"], each["name"]): (each["count"], each["failures"])
        for each in page(url, "transactions")["groups"]
    }
    wrong = [f"{key}: {found.get(key)}, not {want}" for key, want in TRANSACTIONS.items() if found.get(key) != want]
    wrong += [f"{key}: {count}, not expected" for key, count in found.items() if key not in TRANSACTIONS]
    totals = {each["service"]: (each["spans"], each["errors"]) for each in page(url, "services")}
    return wrong + [
        f"{name}: spans, errors {totals.get(name)}, not {want}"
        for name, want in TOTALS.items()
        if totals.get(name) != want
    ]


def start(folder: str) -> tuple:
    shop, prices = free_port(), free_port()
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "SHOP_PORT": str(shop),
        "PRICES_PORT": str(prices),
        "SHOP_PRICES_URL": f"http://127.0.0.1:{prices}",
        "SHOP_DATABASE": f"{folder}/shop.db",
    }
    subprocess.run([sys.executable, str(HERE / "seed.py"), f"{folder}/shop.db"], check=True)
    log = Path(folder, "log")
    command = [str(BIN / "apm-run"), "--local", str(HERE / "start.sh")]
    with log.open("w") as stderr:
        process = subprocess.Popen(command, env=environment, stderr=stderr)
    wait_for(prices, process)
    wait_for(shop, process)
    url = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
    return process, f"http://127.0.0.1:{shop}", url.group(), log


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        process, shop, url, log = start(folder)
        try:
            print(f"shop: {shop}\npage: {url}", flush=True)
            requests = [one for one in TRAFFIC for _ in range(one[0])]
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda one: ask(shop, one), requests))
            deadline = time.monotonic() + 15
            while (wrong := arrived(url)) and time.monotonic() < deadline:
                time.sleep(0.2)
            print(f"{len(requests)} requests: " + ("\n".join(wrong) if wrong else "every expected event arrived"))
            if "--exit" not in sys.argv:
                print("Ctrl-C ends it.", flush=True)
                process.wait()
        except KeyboardInterrupt:
            print()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        print("\n".join(line for line in log.read_text().splitlines() if line.startswith("apm-run: ")))
        return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
