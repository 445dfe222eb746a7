"""What the applications of the tests on secrets have in common: what they send elsewhere and answer."""

import sqlite3

import httpx

#: In two pieces, since source lines are shown with errors.
HIDDEN = "s3cr" + "3t-"


def elsewhere():
    """A statement with an address in it, and a request to a URL with everything that opens doors."""
    with sqlite3.connect(":memory:") as connection:
        connection.execute(f"SELECT 'postgresql://shop:{HIDDEN}dsn@plain-dsn/db'")
        connection.execute(f"SELECT 'host=plain-host password={HIDDEN}libpq'")
    url = f"http://shop:{HIDDEN}userinfo@127.0.0.1:9/plain-client?q=plain-parameter&X-Amz-Signature={HIDDEN}signature"
    try:
        httpx.get(url, timeout=5)
    except httpx.HTTPError:
        pass


def answered():
    """Headers of a response."""
    return [
        ("Set-Cookie", f"session={HIDDEN}set-cookie"),
        ("Location", f"https://shop:{HIDDEN}location-user@plain-location/?token={HIDDEN}location-token"),
        ("Link", f'<https://plain-link/?sig={HIDDEN}link>; rel="next"'),
        ("X-Auth-Token", f"{HIDDEN}response-header"),
        ("X-Plain", "plain-response-header"),
    ]


def fail():
    """An error that nobody handles."""
    raise ZeroDivisionError("plain-error")
