"""Every type of option value, with the values that users, shells and attackers write."""

from __future__ import annotations

import random
from decimal import ROUND_HALF_UP, Decimal

import pytest

from apm_run.config import OPTIONS, parse
from apm_run.config.wildcard import Matcher

HUGE = "1" + "0" * 400

GOOD = [
    (parse.boolean(), "true", True),
    (parse.boolean(), " FALSE\n", False),
    (parse.boolean(), True, True),
    (parse.boolean(), False, False),
    (parse.integer(), "0", 0),
    (parse.integer(), "-17", -17),
    (parse.integer(-1), "-1", -1),
    (parse.integer(0, 1000), 1000, 1000),
    (parse.sample_rate(), "1", 1.0),
    (parse.sample_rate(), "0", 0.0),
    (parse.sample_rate(), 0.25, 0.25),
    (parse.sample_rate(), "1e-3", 0.001),
    (parse.sample_rate(), ".5", 0.5),
    (parse.sample_rate(), "0.00001", 0.0001),
    (parse.sample_rate(), "5e-324", 0.0001),
    (parse.sample_rate(), "0.00015", 0.0002),
    (parse.sample_rate(), "0.55554999", 0.5555),
    (parse.sample_rate(), "0.99995", 1.0),
    (parse.text(), "  a b\u00e9 ", "a b\u00e9"),
    (parse.credential(), "aWQ6 a2V5==~!\n", "aWQ6 a2V5==~!"),
    (parse.path(), "/var/log/x y.log", "/var/log/x y.log"),
    (parse.url(), "http://localhost:8200/", "http://localhost:8200"),
    (parse.url(), "HTTPS://u:p@apm.example.com/prefix//", "HTTPS://u:p@apm.example.com/prefix"),
    (parse.url(), "http://[::1]:8200", "http://[::1]:8200"),
    (parse.choice(("one", "two"), {"deux": "two"}), "ONE", "one"),
    (parse.choice(("one", "two"), {"deux": "two"}), "Deux", "two"),
    (parse.milliseconds(), "5ms", 5.0),
    (parse.milliseconds(), "-1ms", -1.0),
    (parse.milliseconds(), "2s", 2000.0),
    (parse.milliseconds(0), "1m", 60_000.0),
    (parse.milliseconds(0), "0ms", 0.0),
    (parse.milliseconds(granular=True), "500us", 0.5),
    (parse.seconds(), "5s", 5.0),
    (parse.seconds(), "100ms", 0.1),
    (parse.seconds(), "1440m", 86_400.0),
    (parse.seconds(bare=True), "7", 7.0),
    (parse.seconds(bare=True), 7, 7.0),
    (parse.size(), "768kb", 768 * 1024),
    (parse.size(), "1GB", 1 << 30),
    (parse.size(), "1b", 1),
    (parse.size(), "3Mb", 3 << 20),
    (parse.wildcards(), "", ()),
    (parse.wildcards(), " a , b*,, ", (Matcher("a"), Matcher("b*"))),
    (parse.wildcards(), ["a,b", 3], (Matcher("a,b"), Matcher("3"))),
    (parse.mapping(), "", {}),
    (parse.mapping(), "a=1, b = x=y ,c=", {"a": "1", "b": "x=y", "c": ""}),
    (parse.mapping(), {"a": 1, "b": True, "c": " x "}, {"a": "1", "b": "true", "c": "x"}),
    (parse.mapping(), ["a=1"], {"a": "1"}),
]

BAD = {
    parse.boolean(): ["yes", "1", "truee", "t rue", "\uff54rue", 1, [], {}, None],
    parse.integer(): [
        "",
        "1.0",
        "1e3",
        "+1",
        "0x10",
        "1_000",
        "\u0661\u0662",
        "\u00b2",
        "--1",
        "-",
        HUGE,
        "nan",
        1.0,
        True,
    ],
    parse.integer(-1): ["-2", "2147483648"],
    parse.integer(0, 1000): ["1001", "-1", "-0.5"],
    parse.sample_rate(): [
        "2.5",
        "-0.1",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "0,5",
        "0_1",
        "\u0661",
        "abc",
        "50%",
        HUGE,
        "1.0001",
    ],
    parse.text(): ["a\nb", "a\x00", "a\x1b[31m", "\udc80", "a\u2028b"],
    parse.credential(): ["a\nb: c", "a\rb", "a\x00b", "a\x7fb", "a\x85b", "a\udcffb", "a\tb", "p\u00e4ss", ["x"]],
    parse.path(): ["a\0b"],
    parse.readable_file(): ["/nonexistent/x.pem", "/", "a\0b"],
    parse.choice(("one",)): ["on", "", "one two"],
    parse.milliseconds(): [
        "5",
        "5 ms",
        "5MS",
        "5us",
        "1.5s",
        "1e3ms",
        "ms",
        "",
        "5h",
        "\u0665ms",
        "nanms",
        f"{HUGE}ms",
        "5s5ms",
    ],
    parse.milliseconds(0): ["-1ms", "99999m"],
    parse.seconds(): ["5", "0s", "-1s", "86401s", "1us"],
    parse.seconds(bare=True): ["0", "-5", "1.5", "nan"],
    parse.size(): ["768", "kb", "-1kb", "0b", "1.5mb", "2gb", "1tb", "1 kb", f"{HUGE}b", "\u0661kb", "1kbb"],
    parse.wildcards(): [{"a": "b"}, [["a"]], [None]],
    parse.mapping(): ["a", "a=1,b", "=1", " =1", {"": "x"}, {"a": []}, [{"a": 1}]],
}


def test_option_can_be_shown() -> None:
    assert repr(OPTIONS[0]) == "Option('enabled')"


@pytest.mark.parametrize(("kind", "raw", "value"), GOOD)
def test_good_values_are_typed(kind: parse.Kind, raw: object, value: object) -> None:
    parsed = kind.parse(raw)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(("kind", "raw"), [(kind, raw) for kind, raws in BAD.items() for raw in raws])
def test_bad_values_are_refused_with_what_is_wanted(kind: parse.Kind, raw: object) -> None:
    with pytest.raises(ValueError) as caught:
        kind.parse(raw)
    assert str(caught.value) == f"is not {kind.wants}"


def test_toml_number_too_long_to_print_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a whole number"):
        parse.integer().parse(10**5000)


def test_toml_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a number from 0 to 1"):
        parse.sample_rate().parse(float("nan"))


def test_sample_rate_rounds_the_written_number_half_up() -> None:
    chance = random.Random(22)
    for _ in range(2000):
        text = f"0.{chance.randrange(10 ** chance.randrange(1, 9)):08d}"
        exact = Decimal(text)
        rounded = exact.quantize(Decimal("0.0001"), ROUND_HALF_UP)
        want = 0.0001 if 0 < exact < Decimal("0.0001") else float(rounded)
        assert parse.sample_rate().parse(text) == want, text


def test_random_texts_are_parsed_or_refused_and_nothing_else() -> None:
    chance = random.Random(4)
    alphabet = "0123456789-+._ eE,=*msukbgGB%:/@[]?#\t\n\0\u0661\u00b2\ud800\u20ac"
    kinds = [*BAD, parse.url()]
    for _ in range(3000):
        text = "".join(chance.choices(alphabet, k=chance.randrange(12)))
        for kind in kinds:
            try:
                kind.parse(text)
            except ValueError:
                continue


def test_readable_file(tmp_path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("x")
    assert parse.readable_file().parse(str(file)) == str(file)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("http://a", ("http", "a", 80, "")),
        ("https://a:1", ("https", "a", 1, "")),
        ("HTTP://a.b_c/x/y", ("http", "a.b_c", 80, "/x/y")),
        ("http://user:p%40ss@a:8200/p@q", ("http", "a", 8200, "/p@q")),
        ("http://u:p@[fe80::1%25eth0]:65535", None),
        ("http://u@[::1]:8200/x", ("http", "::1", 8200, "/x")),
        ("http://[::ffff:1.2.3.4]", ("http", "::ffff:1.2.3.4", 80, "")),
        ("http://u:p@ss@a", ("http", "a", 80, "")),
        ("http://a:", ("http", "a", 80, "")),
    ],
)
def test_split_url(text: str, parts: tuple[str, str, int, str] | None) -> None:
    if parts is None:
        with pytest.raises(ValueError):
            parse.split_url(text)
    else:
        assert parse.split_url(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "localhost:8200",
        "//localhost",
        "ftp://a",
        "http:/a",
        "http://",
        "http:///x",
        "http://:8200",
        "http://a:0",
        "http://a:65536",
        "http://a:-1",
        "http://a:8200x",
        "http://a:\u0661",
        "http://a b",
        "http://a\r\nX: y",
        "http://a/\x00",
        "http://a?x=1",
        "http://a#f",
        "http://[::1",
        "http://[::1]x",
        "http://[]",
        "http://[abc]",
        "http://a:1:2",
        "http://[::1]:99999999999999999999",
        "http://\u00e9",
        "http://a[b",
        'http://a"b',
        "",
    ],
)
def test_urls_without_a_usable_host_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an http or https URL with a host"):
        parse.url().parse(text)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://a:8200", "http://a:8200"),
        ("http://u:p@a", "http://[REDACTED]@a"),
        ("http://u:p@ss@a", "http://[REDACTED]@a"),
        ("u:p@a", "[REDACTED]@a"),
        ("http://u:p/w@a/x", "http://[REDACTED]@a/x"),
        ("http://u:p?w@a/x", "http://[REDACTED]@a/x"),
        ("http://a/?token=p", "http://a/?[REDACTED]"),
        ("http://u:p@a/?q", "http://[REDACTED]@a/?[REDACTED]"),
        ("", ""),
    ],
)
def test_userinfo_and_query_are_masked(text: str, masked: str) -> None:
    assert parse.without_secrets(text) == masked
