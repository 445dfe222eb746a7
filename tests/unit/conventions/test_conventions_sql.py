"""The signature of SQL statements (spec 21)."""

from __future__ import annotations

import random
import sys
from time import perf_counter

import pytest

from apm_run.conventions import sql
from apm_run.conventions.sql import LIMIT, signature

SIGNATURES = [
    # Blank, and comments alone
    ("", ""),
    (" \t\n", ""),
    ("-- nothing", ""),
    ("/* nothing */ ", ""),
    ("/* never ends", ""),
    # SELECT: the first FROM outside of parentheses
    ("SELECT 1", "SELECT"),
    ("select a, b from orders where c = 1", "SELECT FROM orders"),
    ("SELECT * FROM shop.orders", "SELECT FROM shop.orders"),
    ("SELECT * FROM host.shop.orders o", "SELECT FROM host.shop.orders"),
    ("SELECT * FROM `shop.orders`", "SELECT FROM shop.orders"),
    ('SELECT * FROM "shop"."orders"', "SELECT FROM shop.orders"),
    ("SELECT * FROM [my shop].[orders]", "SELECT FROM my shop.orders"),
    ('SELECT * FROM "a ""b"" c"', 'SELECT FROM a ""b"" c'),
    ('SELECT * FROM "a\nb\u00e6" WHERE x', "SELECT FROM a\nb\u00e6"),
    ("SELECT * FROM orders, items", "SELECT FROM orders"),
    ("SELECT * FROM orders ORDER BY orders.id", "SELECT FROM orders"),
    ("SELECT * FROM a$b_1", "SELECT FROM a$b_1"),
    ("SELECT * FROM _\u017clota\u0107", "SELECT FROM _\u017clota\u0107"),
    ("SELECT (a, b) FROM orders", "SELECT FROM orders"),
    ("SELECT (SELECT count(*) FROM items) FROM orders", "SELECT FROM orders"),
    ("SELECT EXTRACT(year FROM day) FROM orders", "SELECT FROM orders"),
    ("SELECT * FROM (SELECT a FROM items) AS x", "SELECT"),
    ("SELECT * FROM (SELECT", "SELECT"),
    ("SELECT ) FROM orders", "SELECT"),
    ("SELECT * FROM 'orders'", "SELECT"),
    ("SELECT * FROM table", "SELECT"),
    ("SELECT * FROM", "SELECT"),
    ("SELECT ' FROM a' FROM orders", "SELECT FROM orders"),
    ("SELECT 'it''s FROM a' FROM orders", "SELECT FROM orders"),
    ("SELECT 'it\\'s FROM a' FROM orders", "SELECT FROM orders"),
    ("SELECT '\\\\' FROM orders", "SELECT FROM orders"),
    ("SELECT 'never ends FROM orders", "SELECT"),
    ('SELECT "never ends FROM orders', "SELECT"),
    ("SELECT [never ends FROM orders", "SELECT"),
    ("SELECT $$ FROM a $$ FROM orders", "SELECT FROM orders"),
    ("SELECT $x$ FROM a $$ $y$ $x$ FROM orders", "SELECT FROM orders"),
    ("SELECT $x$ FROM orders", "SELECT FROM orders"),
    ("SELECT $x$,b FROM orders", "SELECT FROM orders"),
    ("SELECT $1 FROM orders", "SELECT FROM orders"),
    ("SELECT 1.5e-3 FROM orders", "SELECT FROM orders"),
    ("SELECT a.FROM FROM orders", "SELECT"),
    ("SELECT a -- FROM x\n FROM orders", "SELECT FROM orders"),
    ("SELECT a // FROM x\n FROM orders", "SELECT FROM orders"),
    ("SELECT a /* FROM x /* deeper */ FROM y */ FROM orders", "SELECT FROM orders"),
    ("SELECT a /* FROM /* never ends */ FROM orders", "SELECT"),
    ("SELECT a - b / c FROM orders", "SELECT FROM orders"),
    ("SELECT * FROM shop -- x\n . /* y */ orders", "SELECT FROM shop.orders"),
    ("SELECT * FROM shop.", "SELECT FROM shop"),
    ("SELECT * FROM shop.5", "SELECT FROM shop"),
    ("SELECT * FROM shop..orders", "SELECT FROM shop"),
    ("/* first */ -- then\n SELECT * FROM orders", "SELECT FROM orders"),
    # DELETE: FROM must follow
    ("delete from shop.orders where a = 1", "DELETE FROM shop.orders"),
    ("DELETE a FROM orders", "DELETE"),
    ("DELETE FROM", "DELETE"),
    ("DELETE FROM 9", "DELETE"),
    ("DELETE", "DELETE"),
    # INSERT and REPLACE: whatever stands before INTO
    ("INSERT INTO shop.orders (a) VALUES (?)", "INSERT INTO shop.orders"),
    ("insert delayed ignore into orders values (1)", "INSERT INTO orders"),
    ("INSERT OR REPLACE INTO orders VALUES (1)", "INSERT INTO orders"),
    ("REPLACE INTO orders VALUES (1)", "REPLACE INTO orders"),
    ("REPLACE orders SET a = 1", "REPLACE"),
    ("INSERT INTO (SELECT", "INSERT"),
    ("INSERT orders", "INSERT"),
    # UPDATE: the last name before what is none
    ("UPDATE orders SET a = 1", "UPDATE orders"),
    ("UPDATE LOW_PRIORITY IGNORE shop.orders SET a = 1", "UPDATE shop.orders"),
    ("UPDATE ONLY orders AS o SET a = 1", "UPDATE orders"),
    ("UPDATE OR IGNORE orders SET a = 1", "UPDATE orders"),
    ("UPDATE OR REPLACE orders SET a = 1", "UPDATE orders"),
    ("UPDATE `my orders` SET a = 1", "UPDATE my orders"),
    ("UPDATE REPLACE orders SET a = 1", "UPDATE"),
    ("UPDATE 5", "UPDATE"),
    ("UPDATE", "UPDATE"),
    # CALL
    ("CALL shop.refund(1)", "CALL shop.refund"),
    ("CALL 5", "CALL"),
    ("CALL", "CALL"),
    # The rest: the first token
    ("create table orders (a)", "CREATE"),
    ("ALTER TABLE orders ADD a", "ALTER"),
    ("Truncate TABLE orders", "TRUNCATE"),
    ("begin;", "BEGIN"),
    ("WITH x AS (SELECT 1) SELECT * FROM x", "WITH"),
    ("(SELECT 1)", "("),
    (";", ";"),
    ("\u00e9t\u00e9", "\u00c9T\u00c9"),
]


@pytest.mark.parametrize(("statement", "expected"), SIGNATURES)
def test_signature(statement, expected):
    assert signature(statement) == expected
    assert signature(statement) == expected  # now it is kept


TOKENS = [
    ("oR replace_ REPLACE", [("OR", "oR"), ("ident", "replace_"), ("REPLACE", "REPLACE")]),
    ("alter as set table truncate", [(word.upper(), word) for word in ("alter", "as", "set", "table", "truncate")]),
    ("a.b", [("ident", "a"), (".", "."), ("ident", "b")]),
    ("a$1 _b", [("ident", "a$1"), ("ident", "_b")]),
    ('`SET` "SET" [SET]', [("ident", "SET")] * 3),
    ("()", [("(", "("), (")", ")")]),
    ("'a''b' 'c\\'d'", [("string", "'a''b'"), ("string", "'c\\'d'")]),
    ("$$a$b$$ $t$'$$$t$", [("string", "$$a$b$$"), ("string", "$t$'$$$t$")]),
    ("$1 $12a $", [("other", "$1"), ("other", "$12a"), ("other", "$")]),
    ("$t$ a $u$ b", [("other", "$t$"), ("ident", "a"), ("other", "$u$"), ("ident", "b")]),
    ("1 1.5 1E5 1e+5 1e-5", [("number", text) for text in ("1", "1.5", "1E5", "1e+5", "1e-5")]),
    ("1.2.3", [("number", "1.2"), (".", "."), ("number", "3")]),
    ("1e5e6 1e5.6", [("number", "1e5"), ("ident", "e6"), ("number", "1e5"), (".", "."), ("number", "6")]),
    ("a-b/c", [("ident", "a"), ("other", "-"), ("ident", "b"), ("other", "/"), ("ident", "c")]),
    ("?, :a", [("other", "?"), ("other", ","), ("other", ":"), ("ident", "a")]),
    ("'never", [("string", "'never")]),
    ("`never", [("other", "`never")]),
    ("a--b", [("ident", "a")]),
    ("a/*b*/c", [("ident", "a"), ("ident", "c")]),
]


@pytest.mark.parametrize(("text", "expected"), TOKENS)
def test_tokens(text, expected):
    assert list(sql._tokens(text, False)) == expected


def test_a_name_that_may_go_on_where_the_text_was_cut_is_none():
    whole = f"SELECT * FROM{' ' * (LIMIT - 20)} orders"
    assert len(whole) == LIMIT
    assert signature(whole) == "SELECT FROM orders"
    for more in (".x", "x", " x", " .x"):
        assert signature(whole + more) == "SELECT"
    assert signature(whole.replace("   ", " ", 1) + " x") == "SELECT FROM orders"
    assert signature(whole.replace("  ", " ", 1) + ".x") == "SELECT"
    assert signature(f"UPDATE orders{' ' * LIMIT}SET a = 1") == "UPDATE"
    assert signature("SELECT * FROM orders WHERE a IN (" + "1, " * 400_000 + "1)") == "SELECT FROM orders"


@pytest.mark.parametrize(
    "part",
    [
        "a,",
        "/*",
        "*/",
        "/*x*/",
        "$a$ ",
        "$a",
        "$a$b",
        "$$",
        "'",
        "''",
        "\\'",
        '"',
        '""',
        "[",
        "(",
        "1.",
        "1e",
        "--",
        ". ",
    ],
)
def test_a_huge_statement_takes_no_longer_than_a_long_one(part):
    statement = "SELECT " + part * (1_000_000 // len(part))
    began = perf_counter()
    assert signature(statement)[:6] in ("SELECT", "")
    assert perf_counter() - began < 0.5


def test_random_text_never_raises():
    chosen = random.Random(7)
    words = [
        *sql._KEYWORDS,
        *"'\"`[]().$\\/*-;?:,",
        *["--", "/*", "*/", "$$", "$a$", "''", "x", "é", "\x00"],
        chr(0x660),
    ]
    for _ in range(3000):
        size = chosen.randrange(30)
        noise = bytes(chosen.randrange(256) for _ in range(size)).decode("latin-1")
        for statement in (
            "".join(chosen.choice(words) + chosen.choice((" ", "", "\n")) for _ in range(size)),
            "".join(chr(chosen.randrange(sys.maxunicode)) for _ in range(size)),
            noise,
        ):
            assert isinstance(signature(statement), str)


def test_what_is_kept_is_bounded():
    for number in range(5000):
        signature(f"SELECT {number} FROM orders")
    kept = sum(len(statement) + sql._ENTRY for statement in sql._kept)
    assert 0 < kept <= sql._BUDGET
    for number in range(200):
        signature(f"SELECT {number} FROM orders WHERE a = '{'x' * 100_000}'")
    assert sum(len(statement) + sql._ENTRY for statement in sql._kept) <= sql._BUDGET
    assert max(map(len, sql._kept)) <= LIMIT + 1


@pytest.mark.timing
def test_a_known_statement_costs_under_two_microseconds():
    statement = "SELECT a.id, a.name, a.value FROM items AS a WHERE a.id = ? ORDER BY a.name"
    signature(statement)
    best = 1.0
    for _ in range(20):
        began = perf_counter()
        for _ in range(1000):
            signature(statement)
        best = min(best, perf_counter() - began)
    assert best / 1000 < 2e-6
