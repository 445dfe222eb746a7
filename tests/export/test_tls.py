"""TLS and proxies on the way to the server (spec 4.2)."""

from __future__ import annotations

import gzip
import os
import socket
import threading
from pathlib import Path

import pytest
from tests.export.support import event, exporter, numbers
from tests.servers import Server
from tests.tls import Authority


@pytest.fixture(autouse=True)
def _no_trust_of_this_machine(monkeypatch):
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


def outcome(url: str, **options) -> tuple[int, str]:
    with exporter(url, **options) as made:
        made.put(event(1), 1)
        made.flush(3 if not options.pop("brief", None) else 1)
        return made.stats.accepted, made.stats.last_error


def test_an_unknown_authority_is_refused(tls):
    with Server(tls=tls.context) as server:
        accepted, error = outcome(server.url, server_timeout="1s")
        assert accepted == 0
        assert "CERTIFICATE_VERIFY_FAILED" in error
        assert server.requests == []


def test_an_own_authority_is_trusted_by_file_and_by_environment(tls, monkeypatch):
    with Server(tls=tls.context) as server:
        assert outcome(server.url, server_ca_cert_file=tls.ca) == (1, "")
        assert outcome(server.url.replace("127.0.0.1", "localhost"), server_ca_cert_file=tls.ca) == (1, "")
        monkeypatch.setenv("SSL_CERT_FILE", tls.ca)
        assert outcome(server.url) == (1, "")
        assert outcome(server.url, use_certifi="false") == (1, "")


@pytest.mark.parametrize("option", ["server_ca_cert_file", "server_cert"])
def test_files_that_are_renewed_with_the_servers_certificate_are_read_again(option, tls, tmp_path):
    other = Authority(_folder(tmp_path / "other"))
    file = tmp_path / "file.pem"
    file.write_text(Path(other.ca if option == "server_ca_cert_file" else other.certificate).read_text())
    with Server(tls=other.context) as server, exporter(server.url, skip_server_info="true", **{option: file}) as made:
        made.put(event(1), 1)
        assert made.flush(5)
        server.tls = tls.context
        made._workers[os.getpid()]._transport.close()
        made.put(event(2), 1)
        assert not made.flush(0.5)
        file.write_text(Path(tls.ca if option == "server_ca_cert_file" else tls.certificate).read_text())
        assert made.flush(5)
        assert numbers(server.events) == [1, 2]


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_certificate_of_another_host_is_refused(tls):
    with Server(tls=tls.context) as server:
        url = server.url.replace("127.0.0.1", "127.0.0.2")
        server.listener.close()
        with socket.create_server(("127.0.0.2", server.port)) as listener:
            server.listener = listener
            thread = threading.Thread(target=server._accept, daemon=True)
            server.threads.append(thread)
            thread.start()
            assert "IP address mismatch" in outcome(url, server_ca_cert_file=tls.ca)[1]


def test_verification_can_be_switched_off(tls):
    with Server(tls=tls.context) as server:
        assert outcome(server.url, verify_server_cert="false") == (1, "")


def test_a_pinned_certificate_is_compared_and_nothing_else(tls):
    with Server(tls=tls.context) as server:
        assert outcome(server.url, server_cert=tls.certificate) == (1, "")
        accepted, error = outcome(server.url, server_cert=tls.ca)
        assert (accepted, error) == (0, "TLS: its certificate is not the one in server_cert")
        assert len(server.requests) == 1


@pytest.mark.parametrize("option", ["server_cert", "server_ca_cert_file"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_is_none_is_named(option, content, tls, tmp_path):
    path = tmp_path / "x.pem"
    if content:
        path.write_text(content)
    with Server(tls=tls.context) as server, exporter(server.url) as made:
        setattr(made._settings, option, str(path))
        made.put(event(1), 1)
        made.flush(0.5)
        assert option in made.stats.last_error or "PEM" in made.stats.last_error


def test_plain_http_spoken_to_tls_and_tls_to_plain_fail_with_a_reason(tls):
    with Server(tls=tls.context) as server:
        assert outcome(server.url.replace("https", "http"), server_timeout="1s", brief=True)[0] == 0
    with Server() as server:
        assert "TLS" in outcome(server.url.replace("http", "https"), server_timeout="1s")[1]


def test_a_silent_tls_server_is_left_after_the_time_out(tls):
    with Server(answers=["deaf"], tls=tls.context) as server:
        accepted, error = outcome(server.url, server_timeout="200ms", verify_server_cert="false", brief=True)
        assert (accepted, "time" in error) == (0, True)


def test_a_pooled_tls_connection_is_used_again(tls):
    with Server(tls=tls.context) as server, exporter(server.url, verify_server_cert="false") as made:
        for number in range(3):
            made.put(event(number), 1)
            assert made.flush(3)
        assert (len(server.requests), server.connections) == (3, 1)


class Proxy:
    """An HTTP proxy that everything is asked of; speaks CONNECT too."""

    def __init__(self, target: Server, refuse: int = 0) -> None:
        self.target = target
        self.refuse = refuse
        self.heads: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://us%3Aer:p%40ss@127.0.0.1:{self.listener.getsockname()[1]}"
        self.open: list[socket.socket] = []
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def __enter__(self) -> Proxy:  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        for sock in self.open:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join(5)
        for sock in [*self.open, self.listener]:
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(client)
            self._spawn(self._serve, client)

    def _spawn(self, function, *args) -> None:
        thread = threading.Thread(target=function, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            more = client.recv(65536)
            if not more:
                return
            head += more
        head, _, rest = head.partition(b"\r\n\r\n")
        self.heads.append(head)
        if self.refuse:
            try:
                client.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % self.refuse)
                client.shutdown(socket.SHUT_RDWR)
            except OSError:  # the client has read what it wanted to know
                pass
            return
        server = socket.create_connection(("127.0.0.1", self.target.port))
        self.open.append(server)
        if head.startswith(b"CONNECT"):
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            method, url, version = head.split(b"\r\n")[0].split()
            path = b"/" + url.split(b"/", 3)[3]
            server.sendall(b" ".join((method, path, version)) + head[head.index(b"\r\n") :] + b"\r\n\r\n" + rest)
        self._spawn(self._copy, server, client)
        self._copy(client, server)

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY"])
def test_an_http_server_behind_a_proxy(name, monkeypatch):
    with Server() as server, Proxy(server) as proxy:
        monkeypatch.setenv(name, proxy.url)
        with exporter("http://apm.invalid:8200/prefix", api_key="k") as made:
            made.put(event(1), 1)
            assert made.flush(3)
        assert proxy.heads[0].startswith(b"POST http://apm.invalid:8200/prefix/intake/v2/events HTTP/1.1\r\n")
        assert b"\r\nProxy-Authorization: Basic dXM6ZXI6cEBzcw==\r\n" in proxy.heads[0] + b"\r\n"
        request = server.requests[0]
        assert request.headers["authorization"] == "ApiKey k"
        assert request.headers["content-encoding"] == "gzip", "the server is not this machine"
        assert gzip.decompress(request.raw).endswith(event(1))


def test_an_https_server_behind_a_proxy(tls, monkeypatch):
    with Server(tls=tls.context) as server, Proxy(server) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        with exporter("https://apm.invalid", secret_token="t", server_cert=tls.certificate) as made:
            for number in (1, 2):
                made.put(event(number), 1)
                assert made.flush(3)
        (head,) = proxy.heads
        assert head.startswith(
            b"CONNECT apm.invalid:443 HTTP/1.1\r\nHost: apm.invalid:443\r\nProxy-Authorization: Basic "
        )
        assert b"Bearer" not in head
        assert numbers(server.events) == [1, 2]


def test_a_proxy_that_refuses_is_named_without_its_password(tls, monkeypatch):
    with Server(tls=tls.context) as server, Proxy(server, refuse=407) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        error = outcome("https://apm.invalid", server_timeout="1s")[1]
        assert error == f"the proxy http://127.0.0.1:{proxy.listener.getsockname()[1]} answered 407"


def test_a_proxy_that_is_away_is_named(monkeypatch):
    monkeypatch.setenv("http_proxy", "127.0.0.1:1")
    assert outcome("http://apm.invalid")[1] == "the proxy http://127.0.0.1:1: Connection refused"


@pytest.mark.parametrize("rule", ["*", "127.0.0.9", ".invalid, 127.0.0.9:8200"])
def test_no_proxy_and_this_machine_go_straight(rule, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", rule)
    with Server() as server:
        assert outcome(server.url) == (1, "")
