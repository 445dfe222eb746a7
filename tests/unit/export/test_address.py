from __future__ import annotations

import pytest

from apm_run.export.address import Address, proxy_for


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "shown"),
    [
        ("http://apm", "apm", 80, "", "http://apm"),
        ("HTTPS://apm/", "apm", 443, "", "https://apm"),
        ("https://apm:8200/a/b//", "apm", 8200, "/a/b", "https://apm:8200/a/b"),
        ("http://u:p@[::1]:8200", "::1", 8200, "", "http://[::1]:8200"),
        ("http://u:p@w@apm:443?x#y", "apm", 443, "", "http://apm:443"),
        (" http://127.0.0.1:8200 ", "127.0.0.1", 8200, "", "http://127.0.0.1:8200"),
    ],
)
def test_urls_are_taken_apart_and_shown_without_userinfo(url, host, port, path, shown):
    found = Address(url)
    assert (found.host, found.port, found.path, str(found)) == (host, port, path, shown)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "must begin with http"),
        ("unix:/run/apm.sock", "must begin with http"),
        ("http+unix://%2Frun", "must begin with http"),
        ("apm:8200", "must begin with http"),
        ("http://", "names no host"),
        ("http://:8200", "names no host"),
        ("http://apm:port", "port"),
        ("http://apm:0", "port"),
        ("http://apm:65536", "port"),
        ("http://apm:²", "port"),
        ("http://[::1", "brackets"),
        ("http://[::1]x", "brackets"),
        ("http://a b", "characters"),
        ("http://apm/a\r\nX: y", "characters"),
        ("http://bücher", "characters"),
    ],
)
def test_what_is_no_url_is_refused_with_a_reason(url, reason):
    with pytest.raises(ValueError, match=reason):
        Address(url)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]", "[0:0:0:0:0:0:0:1]"])
def test_this_machine_is_known(host):
    assert Address(f"http://{host}:8200").is_loopback


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("http://apm", {"http_proxy": "http://p:1"}, "http://p:1"),
        ("http://apm", {"HTTP_PROXY": "p:1"}, "http://p:1"),
        ("http://apm", {"http_proxy": "l:1", "HTTP_PROXY": "u:1"}, "http://l:1"),
        ("http://apm", {"https_proxy": "p:1"}, None),
        ("https://apm", {"HTTPS_PROXY": "http://u:p@p:1"}, "http://p:1"),
        ("https://apm", {"http_proxy": "p:1"}, None),
        ("http://apm", {"HTTP_PROXY": "p:1", "REQUEST_METHOD": "GET"}, None),
        ("http://apm", {"http_proxy": "p:1", "REQUEST_METHOD": "GET"}, "http://p:1"),
        ("http://localhost", {"http_proxy": "p:1"}, None),
        ("http://127.0.3.4", {"http_proxy": "p:1"}, None),
        ("http://apm", {"http_proxy": "p:1", "no_proxy": "*"}, None),
        ("http://apm.Corp.example", {"http_proxy": "p:1", "NO_PROXY": "x, .corp.example"}, None),
        ("http://apm.corp.example", {"http_proxy": "p:1", "NO_PROXY": "corp.example"}, None),
        ("http://apmcorp.example", {"http_proxy": "p:1", "NO_PROXY": "corp.example,"}, "http://p:1"),
        ("http://apm:8200", {"http_proxy": "p:1", "NO_PROXY": "apm:8200"}, None),
        ("http://apm:8201", {"http_proxy": "p:1", "NO_PROXY": "apm:8200"}, "http://p:1"),
        ("http://[fe80::1]", {"http_proxy": "p:1", "NO_PROXY": "[fe80::1]"}, None),
    ],
)
def test_proxies_are_chosen_as_urllib_does_except_for_this_machine(url, environ, proxy):
    found = proxy_for(Address(url), environ)
    assert (None if found is None else str(found)) == proxy


@pytest.mark.parametrize("value", ["https://u:secret@p:1", "socks5://p:1", "http://:1"])
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(value):
    with pytest.raises(ValueError, match="http_proxy is not usable") as caught:
        proxy_for(Address("http://apm"), {"http_proxy": value})
    assert "secret" not in str(caught.value)
