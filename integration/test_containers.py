"""The examples of docs/how-to/deploy.md, run: images, pods, services, with nothing of this machine's Python in them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from integration.containers import EXAMPLES, Container, Images, Pod, ask, call, free_port, missing
from tests.receiver import Sink
from tests.traced import ROOT

from apm_run.cli.main import COMMANDS

REASON = missing()
pytestmark = [
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
    pytest.mark.timeout(600),  # the first one makes a Debian
]
MANIFESTS = sorted((EXAMPLES / "kubernetes").glob("*.yaml"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "apm-run"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")}
    call(sys.executable, "-m", "apm_run", "bundle", folder, env=env, cwd="/")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    images = Images(tmp_path_factory.mktemp("images"))
    yield images
    images.close()


@pytest.fixture(scope="module")
def context(tmp_path_factory, bundle) -> Path:
    """The directory that an image is built from: the examples, and the bundle beside them."""
    folder = tmp_path_factory.mktemp("context") / "deploy"
    shutil.copytree(EXAMPLES, folder)
    shutil.copytree(bundle, folder / "apm-run")
    (folder / "Containerfile.bare").write_text("ARG BASE\nFROM ${BASE}\nCOPY app.py /app/app.py\n")
    return folder


@pytest.fixture(scope="module")
def shop(images, context):
    return images.build(context / "Containerfile", context)


@pytest.fixture(scope="module")
def roots(images, context, shop) -> dict[str, str]:
    """Image of a manifest -> its file system."""
    return {
        "registry.example.com/shop:1.0.0": shop["Root"],
        "registry.example.com/apm-run:0.1.0": images.build(context / "Containerfile.agent", context)["Root"],
    }


def products(sink: Sink) -> list[dict]:
    return [t for t in sink.transactions if t["context"]["request"]["url"]["pathname"] == "/products"]


def environment(image: dict) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in image["Env"])


# Image


def test_entrypoint_is_pid_1_of_a_read_only_container(shop, sink, tmp_path):
    port = free_port()
    env = {**environment(shop), "PORT": str(port), "ELASTIC_APM_SERVER_URL": sink.url, "APM_RUN_STRICT": "1"}
    assert "HOME" not in env
    assert shop["User"] == "1000:1000"
    container = Container(tmp_path, shop["Root"], [*shop["Entrypoint"], *shop["Cmd"]], env)
    try:
        container.start()
        for _ in range(20):
            assert ask(port, "/products") == b"tea 4\ncoffee 7\n"
        assert container.end() == 0
        assert container.said() == b""
    finally:
        container.close()
    sink.wait(lambda sink: len(products(sink)) >= 20)
    assert len(products(sink)) == 20
    assert len([span for span in sink.spans if span["name"] == "SELECT FROM products"]) == 20
    facts = [metadata for metadata, _ in sink.metadata]
    assert {(f["service"]["name"], f["process"]["pid"]) for f in facts} == {("shop", 1)}


@pytest.mark.parametrize(
    "code",
    [
        "import os; print(os.getpid(), os.getuid(), os.getcwd())",
        "import os, signal; os.kill(1, signal.SIGTERM); print('PID 1 has no default action')",
        "import sys; sys.exit(3)",
        "raise ValueError('as bare')",
        "import sqlite3; print(sqlite3.connect(':memory:').execute('SELECT 1').fetchall())",
        "import os; print(sorted(os.listdir('/proc/self/fd')))",
    ],
)
@pytest.mark.parametrize("server", ["http://127.0.0.1:9", ""])
def test_same_as_bare_with_loopback_alone(code, server, shop, tmp_path):
    """No network, no HOME, nothing that can be written: the program does not notice; a named server is missed once."""
    env = {**environment(shop), **({"ELASTIC_APM_SERVER_URL": server} if server else {})}
    ends = []
    for prefix in ([], shop["Entrypoint"]):
        container = Container(tmp_path, shop["Root"], [*prefix, "python3", "-c", code], env, network=False)
        try:
            done = container.run()
        finally:
            container.close()
        lines = [
            line for line in done.stderr.splitlines() if not line.startswith(b"apm-run: nothing was delivered to ")
        ]
        assert len(done.stderr.splitlines()) - len(lines) <= (1 if prefix and server else 0)
        ends.append((done.returncode, done.stdout, lines))
    assert ends[0] == ends[1]


def test_bubblewrap_with_options_and_without_rights(shop, sink, tmp_path):
    """Options take the image's own Python; no privileges, not even root in a namespace."""
    bwrap = ["bwrap", "--ro-bind", shop["Root"], "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid", "--as-pid-1"]
    user = ["--unshare-user", "--uid", "1000", "--gid", "1000", "--clearenv", "--setenv", "PATH", "/usr/bin:/bin"]
    options = ["--service-name", "counter", "--server-url", sink.url]
    code = "import os, sqlite3; sqlite3.connect(':memory:').execute('SELECT 1'); print(os.getpid(), os.getuid())"
    out = call(*bwrap, *user, "/opt/apm-run/bin/apm-run", *options, "python3", "-c", code)
    assert out == "1 1000\n"
    sink.wait(lambda sink: sink.transactions and sink.spans)
    assert sink.metadata[0][0]["service"]["name"] == "counter"


# Kubernetes

#: What the examples use of the API: kind -> field -> what it holds (a kind, a type, or a list of one).
API = {
    "Deployment": {"apiVersion": str, "kind": str, "metadata": "Metadata", "spec": "DeploymentSpec"},
    "Metadata": {"name?": str, "labels": dict},
    "DeploymentSpec": {"replicas": int, "selector": "Selector", "template": "Template"},
    "Selector": {"matchLabels": dict},
    "Template": {"metadata": "Metadata", "spec": "Pod"},
    "Pod": {
        "terminationGracePeriodSeconds?": int,
        "securityContext": "PodSecurity",
        "initContainers?": ["Container"],
        "containers": ["Container"],
        "volumes": ["Volume"],
    },
    "PodSecurity": {"runAsNonRoot": bool, "runAsUser": int, "runAsGroup": int},
    "Container": {
        "name": str,
        "image": str,
        "command": [str],
        "env?": ["Variable"],
        "ports?": ["Port"],
        "readinessProbe?": "Probe",
        "lifecycle?": "Lifecycle",
        "volumeMounts": ["Mount"],
        "securityContext": "Security",
    },
    "Variable": {"name": str, "value?": str, "valueFrom?": "Source"},
    "Source": {"secretKeyRef": "Key"},
    "Key": {"name": str, "key": str},
    "Port": {"containerPort": int},
    "Probe": {"httpGet": "HttpGet"},
    "HttpGet": {"path": str, "port": int},
    "Lifecycle": {"preStop": "Handler"},
    "Handler": {"exec": "Exec"},
    "Exec": {"command": [str]},
    "Mount": {"name": str, "mountPath": str, "readOnly?": bool},
    "Security": {"allowPrivilegeEscalation": bool, "readOnlyRootFilesystem": bool, "capabilities": "Capabilities"},
    "Capabilities": {"drop": [str]},
    "Volume": {"name": str, "emptyDir": "EmptyDir"},
    "EmptyDir": {"sizeLimit?": str},
}


def faults(value: object, kind: object, where: str) -> list[str]:
    """Return what is wrong with a part of a manifest."""
    if isinstance(kind, list):
        if not isinstance(value, list) or not value:
            return [f"{where}: not a list"]
        return [text for i, item in enumerate(value) for text in faults(item, kind[0], f"{where}[{i}]")]
    if isinstance(kind, type):
        return [] if type(value) is kind else [f"{where}: {value!r} is no {kind.__name__}"]
    if not isinstance(value, dict):
        return [f"{where}: not a mapping"]
    fields = {name.rstrip("?"): kind for name, kind in API[kind].items()}
    required = {name for name in API[kind] if not name.endswith("?")}
    found = [f"{where}.{name}: unknown" for name in value if name not in fields]
    found += [f"{where}.{name}: missing" for name in sorted(required - set(value))]
    for name in value:
        found += faults(value[name], fields[name], f"{where}.{name}") if name in fields else []
    return found


@pytest.fixture(params=MANIFESTS, ids=lambda path: path.stem)
def manifest(request) -> dict:
    (loaded,) = yaml.safe_load_all(request.param.read_text())
    return loaded


def test_manifest_is_well_formed(manifest):
    assert (manifest["apiVersion"], manifest["kind"]) == ("apps/v1", "Deployment")
    assert faults(manifest, "Deployment", "manifest") == []
    template = manifest["spec"]["template"]
    assert manifest["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    volumes = {volume["name"] for volume in template["spec"]["volumes"]}
    containers = [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]
    names = [container["name"] for container in containers]
    assert len(set(names)) == len(names)
    for container in containers:
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert all(mount["mountPath"].startswith("/") for mount in container["volumeMounts"])
        assert all(("value" in entry) != ("valueFrom" in entry) for entry in container.get("env", ()))
        assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name) for name in (container["name"], *volumes))


def test_faults_are_found(manifest):
    """The check of the manifests can fail."""
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["volumeMount"] = container.pop("volumeMounts")
    container["env"][0]["value"] = 1
    found = faults(manifest, "Deployment", "manifest")
    assert [text.rpartition(".")[2] for text in found] == [
        "volumeMount: unknown",
        "volumeMounts: missing",
        "value: 1 is no str",
    ]


def load(name: str) -> dict:
    return yaml.safe_load((EXAMPLES / "kubernetes" / name).read_text())


def test_init_container_and_environment_alone(roots, images, context, sink, tmp_path):
    port = free_port()
    bare = images.build(context / "Containerfile.bare", context)["Root"]
    assert not os.path.exists(f"{bare}/opt/apm-run")
    replaced = {"PORT": str(port), "ELASTIC_APM_SERVER_URL": sink.url}
    images_of_pod = {**roots, "registry.example.com/shop:1.0.0": bare}
    pod = Pod(tmp_path, load("init-container.yaml"), images_of_pod, replaced)
    for _ in range(2):  # a kubelet may run it again
        with pod.container(pod.spec["initContainers"][0]) as container:
            done = container.run()
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    (spec,) = pod.spec["containers"]
    with pod.container(spec) as container:
        container.start()
        assert ask(port, spec["readinessProbe"]["httpGet"]["path"]) == b"ok\n"
        for _ in range(10):
            ask(port, "/products")
        assert container.end() == 0
        assert container.said() == b""
    sink.wait(lambda sink: len(products(sink)) >= 10)
    assert len(products(sink)) == 10
    assert {metadata["service"]["name"] for metadata, _ in sink.metadata} == {"shop"}


@pytest.fixture
def killed(roots, tmp_path):
    """The pod of flush.yaml after its container was killed with the server away; with the port of each."""
    port, server = free_port(), free_port()
    replaced = {"PORT": str(port), "ELASTIC_APM_SERVER_URL": f"http://127.0.0.1:{server}"}
    pod = Pod(tmp_path, load("flush.yaml"), roots, replaced)
    (spec,) = pod.spec["containers"]
    with pod.container(spec) as container:
        container.start()
        for _ in range(10):
            ask(port, "/products")
        assert container.end("KILL") == 128 + signal.SIGKILL
    return pod, port, server


def test_the_volume_keeps_what_is_unsent_for_the_next_container(killed):
    pod, port, server = killed
    (spec,) = pod.spec["containers"]
    with Sink(server) as sink, pod.container(spec) as container:
        container.start()
        ask(port, "/healthz")
        sink.wait(lambda sink: len(products(sink)) >= 10)
        assert container.end() == 0
        sink.wait_idle()
        assert len(products(sink)) == 10


def test_the_hook_before_the_end_sends_what_is_unsent(killed):
    """The hook of the manifest alone: what the container runs beside it is no Python."""
    if "flush" not in COMMANDS:
        pytest.skip("this apm-run has no subcommand flush")
    pod, _, server = killed
    (spec,) = pod.spec["containers"]
    with Sink(server) as sink, pod.container({**spec, "command": ["sleep", "300"]}) as container:
        container.start()
        hook = container.execute_when_up(*spec["lifecycle"]["preStop"]["exec"]["command"])
        assert hook.returncode == 0
        assert b"Traceback" not in hook.stderr, hook.stderr
        sink.wait(lambda sink: len(products(sink)) >= 10, timeout=1)
        sink.wait_idle()
        assert len(products(sink)) == 10


# systemd


@pytest.fixture(scope="module")
def machine(images, context) -> str:
    """A file system with the service and its drop-in where an administrator would put them."""
    root = images.root()
    shutil.copytree(context / "apm-run", f"{root}/opt/apm-run")
    os.makedirs(f"{root}/opt/shop")
    shutil.copy(EXAMPLES / "app.py", f"{root}/opt/shop/app.py")
    shutil.copytree(EXAMPLES / "systemd", f"{root}/etc/systemd/system", dirs_exist_ok=True)
    os.makedirs(f"{root}/etc/apm-run", mode=0o700)
    return root


def test_systemd_takes_the_drop_in(machine):
    """``systemd-analyze verify``, which is silent about what it takes; a drop-in without its empty line is refused."""
    bwrap = ["bwrap", "--bind", machine, "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run", "--tmpfs", "/tmp"]
    verify = [*bwrap, "systemd-analyze", "verify", "--man=no", "--recursive-errors=one", "shop.service"]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    # Type=notify takes one command: the second is refused with a reason.
    drop_in = Path(machine, "etc/systemd/system/shop.service.d/apm-run.conf")
    text = drop_in.read_text()
    try:
        drop_in.write_text(text.replace("ExecStart=\n", "", 1))
        done = subprocess.run(verify, capture_output=True, text=True, check=False)
    finally:
        drop_in.write_text(text)
    assert "more than one ExecStart" in done.stderr


@pytest.fixture
def booted(machine, tmp_path):
    """Start systemd in a container; yield what runs a command in it."""
    log = tmp_path / "console"
    with log.open("wb") as console:
        nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe", "-D", machine, "-b"],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split()
            enter = ["nsenter", "-t", *children[:1], "-m", "-u", "-i", "-n", "-p", "--"]
            state = children and subprocess.run(
                [*enter, "systemctl", "is-system-running"], capture_output=True, text=True, check=False
            )
            if state and state.stdout.strip() in {"running", "degraded"}:
                break
            if nspawn.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"systemd can not be booted on this machine: {log.read_text(errors='replace')[-300:]}")
            time.sleep(0.1)
        yield lambda *words: call(*enter, *words)
        subprocess.run([*enter, "systemctl", "poweroff"], capture_output=True, check=False)
        nspawn.wait(30)
    finally:
        nspawn.kill()
        nspawn.wait()


def test_booted_with_the_hardening_of_the_unit(machine, booted, sink):
    port = free_port()
    settings = Path(machine, "etc/apm-run/shop.env")
    settings.write_text(f"ELASTIC_APM_SERVER_URL={sink.url}\nPORT={port}\nAPM_RUN_STRICT=1\n")
    settings.chmod(0o600)
    booted("systemctl", "start", "shop.service")  # returns at READY=1, which only the main process may say
    facts = dict(
        line.split("=", 1)
        for line in booted("systemctl", "show", "shop.service", "-p", "MainPID", "-p", "ActiveState").splitlines()
    )
    assert facts["ActiveState"] == "active"
    command = booted("cat", f"/proc/{facts['MainPID']}/cmdline").split("\0")
    assert command == ["/usr/bin/python3", "/opt/shop/app.py", ""]
    for _ in range(10):
        assert ask(port, "/products") == b"tea 4\ncoffee 7\n"
    sink.wait(lambda sink: len(products(sink)) == 10)
    assert {m["process"]["pid"] for m, _ in sink.metadata} == {int(facts["MainPID"])}
    assert booted("ls", "/var/lib/shop/apm-run").split(), "the outbox is in the directory of the service"

    booted("systemctl", "restart", "shop.service")
    ask(port, "/products")
    booted("systemctl", "stop", "shop.service")
    sink.wait(lambda sink: len(products(sink)) == 11)
    result = booted("systemctl", "show", "shop.service", "-p", "Result", "--value").strip()
    assert result == "success"
    journal = booted("journalctl", "-u", "shop.service", "-o", "cat")
    assert "Traceback" not in journal
    if "flush" in COMMANDS:
        assert "apm-run:" not in journal
