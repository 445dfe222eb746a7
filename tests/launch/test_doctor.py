"""``apm-run doctor`` alone: the installation, the options, the way to the server, what it prints and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time

import pytest
from tests.export.test_tls import Proxy
from tests.launch.doctoring import DOCTOR, doctor, examined, finding, problems
from tests.servers import Server, refused_port
from tests.traced import bare, environment, traced

SECRETS = ("tok3n-never-shown", "k3y-never-shown", "p4ss-never-shown")


def served(server, *words, state, **how):
    return examined("--server-url", server.url, *words, state=state, **how)


def test_healthy(sink, tmp_path):
    result = examined("--server-url", sink.url, "--secret-token", "t", state=tmp_path, code=0)
    assert problems(result) == []
    names = [one["name"] for one in result["findings"] if one["area"] == "server"]
    assert names == ["url", "dns", "tcp", "clock", "http", "authorised"]
    assert result["server"]["url"] == sink.url
    assert result["server"]["version"]
    assert abs(result["server"]["skew_s"]) <= 2
    assert sink.events == []


def test_the_json_object_is_stable(sink, tmp_path):
    result = examined("--server-url", sink.url, state=tmp_path)
    assert sorted(result) == [
        "command", "findings", "healthy", "options", "outbox", "processes", "schema", "server", "status", "version",
    ]  # fmt: skip
    assert result["schema"] == 1
    assert {tuple(sorted(one)) for one in result["findings"]} == {("area", "fix", "name", "state", "text")}
    assert sorted(result["server"]) == ["proxy", "skew_s", "url", "version"]
    assert sorted(result["outbox"]) == ["directory", "events", "files", "oldest_s"]
    assert (result["command"], result["processes"], result["status"]) == (None, [], None)


def test_text_says_the_worst_first_with_its_fix(tmp_path):
    done = doctor("--server-url", f"http://127.0.0.1:{refused_port()}", state=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    first, second, third, *_ = done.stdout.splitlines()
    assert first.startswith("apm-run 0.1.0: NOT healthy, 1 problem")
    assert second.startswith("  PROBLEM  server, tcp: 127.0.0.1 port ")
    assert second.endswith("connection refused")
    assert third == "           -> start the server, correct the port in server_url, or open the firewall"
    assert done.stdout.isascii()
    assert max(map(len, done.stdout.splitlines())) <= 130


def test_usage(tmp_path):
    done = doctor("--nonsense", state=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    done = doctor("--help", state=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--json" in done.stdout


class TestOptions:
    def test_origins(self, sink, tmp_path):
        file = tmp_path / "apm.toml"
        file.write_text('environment = "test"\n')
        words = ("--config", file, "--server-url", sink.url, "--set", "transaction_max_spans=7")
        result = examined(*words, state=tmp_path, env={"ELASTIC_APM_SERVICE_NAME": "shop"})
        assert {(one["name"], one["value"], one["origin"]) for one in result["options"]} >= {
            ("environment", "test", f"file {file}"),
            ("server_url", sink.url, "option --server-url"),
            ("transaction_max_spans", "7", "option --set"),
            ("service_name", "shop", "environment ELASTIC_APM_SERVICE_NAME"),
        }

    def test_no_secret_is_shown(self, sink, tmp_path):
        url = sink.url.replace("http://", f"http://user:{SECRETS[2]}@")
        env = {"ELASTIC_APM_SECRET_TOKEN": SECRETS[0], "ELASTIC_APM_API_KEY": SECRETS[1], "ELASTIC_APM_SERVER_URL": url}
        for words in (("--json",), (), ("--", "true")):
            done = doctor(*words, state=tmp_path, env=env)
            assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
            assert "[REDACTED]" in done.stdout

    def test_a_bad_value(self, sink, tmp_path):
        result = examined("--server-url", sink.url, "--set", "stack_trace_limit=many", state=tmp_path, code=0)
        found = finding(result, "options", "stack_trace_limit")
        assert found["state"] == "warning"
        assert "option --set" in found["text"]
        result = examined("--server-url", "nonsense", state=tmp_path, code=1)
        assert problems(result)[0] == ("options", "server_url")

    def test_variables_that_set_nothing(self, sink, tmp_path):
        """A name misspelled is told, with its value unread; what other agents know is a note."""
        env = {"ELASTIC_APM_SECRETTOKEN": SECRETS[0], "ELASTIC_APM_USE_ELASTIC_TRACEPARENT_HEADER": "x"}
        result = examined("--server-url", sink.url, state=tmp_path, env=env, code=0)
        found = finding(result, "options", "secrettoken")
        assert (found["state"], "did you mean secret_token" in found["text"]) == ("warning", True)
        assert finding(result, "options", "unknown")["state"] == "note"
        assert SECRETS[0] not in json.dumps(result)
        result = examined("--server-url", sink.url, "--set", "secrettoken=x", state=tmp_path, code=0)
        assert finding(result, "options", "secrettoken")["fix"].endswith("option --set")  # told once

    def test_a_log_file_that_can_not_be_written(self, sink, tmp_path):
        result = examined("--server-url", sink.url, "--set", "log_file=/proc/none/x", state=tmp_path, code=0)
        assert finding(result, "options", "log_file")["state"] == "warning"
        result = examined("--server-url", sink.url, "--set", f"log_file={tmp_path}/x", state=tmp_path, code=0)
        assert finding(result, "options", "values")["state"] == "ok"

    @pytest.mark.parametrize("option", ["enabled=false", "recording=false", "instrument=false", "disable_send=true"])
    def test_what_switches_off(self, sink, tmp_path, option):
        result = examined("--server-url", sink.url, "--set", option, state=tmp_path, code=1)
        assert problems(result) == [("options", option.partition("=")[0])]


class TestServer:
    def test_none_named(self, tmp_path):
        result = examined(state=tmp_path)
        found = finding(result, "server", "url")
        assert found["text"] == "http://127.0.0.1:8200 (default)"
        if problems(result):  # nothing happens to listen there
            assert "apm-run --local" in finding(result, "server", "tcp")["fix"]

    def test_unknown_host(self, tmp_path):
        result = examined("--server-url", "http://apm.invalid:8200", state=tmp_path, code=1)
        assert problems(result) == [("server", "dns")]
        assert "apm.invalid has no address" in finding(result, "server", "dns")["text"]

    def test_closed_port(self, tmp_path):
        result = examined("--server-url", f"http://127.0.0.1:{refused_port()}", state=tmp_path, code=1)
        assert problems(result) == [("server", "tcp")]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can take the network away")
    def test_no_network(self, tmp_path):
        command = ["unshare", "-n", *DOCTOR, "--json", "--server-url", "http://127.0.0.1:8200"]
        env = environment(APM_RUN_STATE_DIR=str(tmp_path))
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "PrivateNetwork=" in finding(json.loads(done.stdout), "server", "tcp")["fix"]

    @pytest.mark.parametrize("status", [401, 403])
    def test_not_authorised(self, tmp_path, status):
        with Server([200, status], info=None) as server:
            result = served(server, "--secret-token", SECRETS[0], state=tmp_path, code=1)
            assert server.requests[1].line == "POST /intake/v2/events HTTP/1.1"
            assert server.requests[1].headers["authorization"] == f"Bearer {SECRETS[0]}"
            assert server.requests[1].events == []
        assert problems(result) == [("server", "authorised")]
        found = finding(result, "server", "authorised")
        assert found["text"] == f"it answered {status} with the secret_token (option --secret-token)"

    @pytest.mark.parametrize(
        ("answers", "check", "text"),
        [
            ([503], "http", "GET / answered 503"),
            ([429], "http", "GET / answered 429"),
            ([200, 503], "authorised", "it takes nothing just now"),
            ([200, 404], "authorised", "it answered 404 to POST"),
            ([200, 301], "authorised", "it answered 301 to POST"),
            ([200, (400, '{"errors":[{"message":"no metadata"}]}')], "authorised", "it answered 400: no metadata"),
            (["reset"], "http", "it broke off"),
        ],
    )
    def test_answers(self, tmp_path, answers, check, text):
        with Server(answers, info=None) as server:
            result = served(server, state=tmp_path, code=1)
        assert problems(result) == [("server", check)]
        found = finding(result, "server", check)
        assert text in found["text"]
        assert found["fix"]

    @pytest.mark.parametrize("behaviour", ["hang", "deaf"])
    def test_no_answer(self, tmp_path, behaviour):
        with Server([behaviour], info=None) as server:
            result = served(server, "--set", "server_timeout=500ms", state=tmp_path, code=1)
        found = finding(result, "server", "http")
        assert found["text"] == "it is connected, but does not answer within 0.5 s"

    def test_clock_and_readiness(self, tmp_path):
        body = b'{"version":"8.1.0","publish_ready":false}'
        head = b"HTTP/1.1 200 OK\r\nDate: Sat, 01 Jan 2000 00:00:00 GMT\r\nContent-Length: %d\r\n\r\n" % len(body)
        with Server([head + body, 202], info=None) as server:
            result = served(server, state=tmp_path, code=0)
        assert "ahead of the server's" in finding(result, "server", "clock")["text"]
        assert finding(result, "server", "ready")["state"] == "warning"
        assert result["server"]["version"] == "8.1.0"
        assert result["server"]["skew_s"] > 10**8

    def test_tls(self, tmp_path, tls):
        with Server(tls=tls.context) as server:
            result = served(server, state=tmp_path, code=1)
            found = finding(result, "server", "tls")
            assert "unable to get local issuer certificate" in found["text"]
            assert "server_ca_cert_file" in found["fix"]
            result = served(server, "--set", f"server_ca_cert_file={tls.ca}", state=tmp_path, code=0)
            assert finding(result, "server", "tls")["text"].endswith("certificate verified")
            result = served(server, "--set", f"server_cert={tls.certificate}", state=tmp_path, code=0)
            assert finding(result, "server", "tls")["text"].endswith("certificate pinned")
            result = served(server, "--set", f"server_cert={tls.ca}", state=tmp_path, code=1)
            assert "not the one in server_cert" in finding(result, "server", "tls")["text"]
            result = served(server, "--set", "verify_server_cert=false", state=tmp_path, code=0)
            assert "NOT verified" in finding(result, "server", "tls")["text"]

    def test_https_to_a_plain_server(self, tmp_path):
        with Server() as server:
            result = examined("--server-url", f"https://127.0.0.1:{server.port}", state=tmp_path, code=1)
        assert problems(result) == [("server", "tls")]

    def test_through_a_proxy(self, tmp_path, tls):
        with Server() as server, Proxy(server) as proxy:
            result = examined(
                "--server-url", "http://apm.invalid:8200", state=tmp_path, env={"http_proxy": proxy.url}, code=0
            )
            assert b"Proxy-Authorization: Basic dXM6ZXI6cEBzcw==" in proxy.heads[0]
            assert "p%40ss" not in json.dumps(result)
            assert result["server"]["proxy"] == proxy.url.replace("us%3Aer:p%40ss@", "")
        with Server(tls=tls.context) as server, Proxy(server) as proxy:
            words = ("--server-url", "https://apm.invalid", "--set", f"server_cert={tls.certificate}")
            examined(*words, state=tmp_path, env={"https_proxy": proxy.url}, code=0)
        with Server() as server, Proxy(server, refuse=407) as proxy:
            words = ("--server-url", "https://apm.invalid")
            result = examined(*words, state=tmp_path, env={"https_proxy": proxy.url}, code=1)
            assert "the proxy answered 407" in finding(result, "server", "tls")["text"]
            assert "USER:PASSWORD" in finding(result, "server", "tls")["fix"]

    @pytest.mark.parametrize(
        ("proxy", "check", "text"),
        [
            (f"http://us:{SECRETS[2]}@127.0.0.1:PORT", "tcp", "the proxy, 127.0.0.1 port"),
            ("socks5://127.0.0.1:1080", "url", "http_proxy is not usable"),
        ],
    )
    def test_a_proxy_that_can_not_be_used(self, tmp_path, proxy, check, text):
        env = {"http_proxy": proxy.replace("PORT", str(refused_port()))}
        result = examined("--server-url", "http://apm.invalid:8200", state=tmp_path, env=env, code=1)
        found = finding(result, "server", check)
        assert found["text"].startswith(text)
        assert "correct http_proxy" in found["fix"]
        assert SECRETS[2] not in json.dumps(result)

    @pytest.mark.parametrize("status", [407, 502])
    def test_a_proxy_that_answers_itself(self, tmp_path, status):
        with Server([status], info=None) as server:
            env = {"http_proxy": server.url}
            result = examined("--server-url", "http://apm.invalid:8200", state=tmp_path, env=env, code=1)
        assert finding(result, "server", "http")["text"] == f"the proxy answered {status}"

    def test_a_web_page_is_no_apm_server(self, tmp_path):
        with Server([(200, "<html>welcome"), (200, "<!doctype html>welcome")], info=None) as server:
            result = served(server, state=tmp_path, code=1)
        assert problems(result) == [("server", "authorised")]
        assert "it takes no events" in finding(result, "server", "authorised")["text"]

    def test_plain_http_to_a_server_that_wants_tls(self, tmp_path):
        with Server([(400, "The plain HTTP request was sent to HTTPS port")], info=None) as server:
            result = served(server, state=tmp_path, code=1)
        assert finding(result, "server", "http")["fix"] == "write https:// in server_url"


class TestOutbox:
    def test_a_named_directory_that_can_not_be_used(self, sink, tmp_path):
        (tmp_path / "file").touch()
        env = {"HOME": str(tmp_path)}
        result = examined("--server-url", sink.url, state=tmp_path / "file", env=env, code=0)
        assert finding(result, "outbox", "APM_RUN_STATE_DIR")["state"] == "warning"
        result = examined("--server-url", sink.url, state=tmp_path, env=env, code=0)
        assert [one["name"] for one in result["findings"] if one["area"] == "outbox"] == ["directory"]

    def test_what_waits(self, sink, tmp_path):
        state = tmp_path / "state"
        env = {"APM_RUN_STATE_DIR": str(state), "TMPDIR": str(tmp_path)}
        program = "import sqlite3; sqlite3.connect(':memory:').execute('select 1')"
        traced("python", "-c", program, url=f"http://127.0.0.1:{refused_port()}", env=env)
        result = examined("--server-url", sink.url, state=state, code=0)
        assert (result["outbox"]["files"], result["outbox"]["events"]) == (1, 2)
        assert finding(result, "outbox", "waiting")["state"] == "note"
        (segment,) = (state / "outbox").glob("*.seg")
        os.utime(segment, (time.time() - 7200, time.time() - 7200))
        found = finding(examined("--server-url", sink.url, state=state, code=0), "outbox", "waiting")
        assert found["state"] == "warning"
        assert "the oldest for 2 hours" in found["text"]
        for number in range(63):
            shutil.copy(segment, segment.with_name(f"{number}.seg"))
        result = examined("--server-url", sink.url, state=state, code=1)
        assert problems(result) == [("outbox", "room")]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
    def test_a_full_disk(self, sink, tmp_path):
        mount = f'mount -t tmpfs -o size=64k none {tmp_path} && exec "$@"'
        command = ["unshare", "-m", "sh", "-c", mount, "sh", *DOCTOR, "--json", "--server-url", sink.url]
        env = environment(APM_RUN_STATE_DIR=str(tmp_path))
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = finding(json.loads(done.stdout), "outbox", "room")
        assert (found["state"], "is full" in found["text"]) == ("warning", True)


def test_the_shell_script_knows_it(script, sink, tmp_path):
    done = bare(script, "doctor", "--server-url", sink.url, env={"APM_RUN_STATE_DIR": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("apm-run 0.1.0: healthy")
