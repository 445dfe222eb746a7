"""Real containers for tests: images by buildah from a debootstrap root, containers and pods by runc."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "deploy"
BASE = "localhost/debian-python"
TOOLS = ("debootstrap", "buildah", "runc", "bwrap", "systemd-nspawn", "nsenter")


def missing() -> str | None:
    """Return why there are no containers here, None if there are."""
    if os.geteuid() != 0:
        return "containers take root here"
    absent = [name for name in TOOLS if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def call(*words: object, **how: Any) -> str:
    """Run a command, return its output; AssertionError with all it said when it fails."""
    how.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, **how)
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, path: str, timeout: float = 30.0) -> bytes:
    """GET a path of a service that may only be starting; TimeoutError if it never answers."""
    deadline = time.monotonic() + timeout
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            with opener.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return bytes(answer.read())
        except OSError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer at port {port}: {error}") from None
            time.sleep(0.05)


class Images:
    """A store of images of its own, with :data:`BASE` in it: Debian with Python, systemd and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._buildah = ["buildah", "--root", str(folder / "store"), "--runroot", str(folder / "run")]
        try:
            self._make_base()
        except BaseException:
            self.close()
            raise

    def _make_base(self) -> None:
        name = self.buildah("from", "scratch").strip()
        root = self.buildah("mount", name).strip()
        suite = call("sh", "-c", ". /etc/os-release && echo $VERSION_CODENAME").strip()
        packages = "--include=python3,systemd,systemd-sysv,dbus"
        mirror = os.environ.get("APM_RUN_DEBIAN_MIRROR")
        call("debootstrap", "--variant=minbase", packages, suite, root, *filter(None, [mirror]), timeout=900)
        self.buildah("commit", "-q", name, BASE)

    def buildah(self, *words: object) -> str:
        return call(*self._buildah, *words)

    def build(self, containerfile: Path, context: Path) -> dict[str, Any]:
        """Build an image; return its configuration, with ``Root``: a writable file system of it."""
        words = ("--isolation", "chroot", "--pull-never", "--build-arg", f"BASE={BASE}", "-f", containerfile, "-q")
        image = self.buildah("bud", *words, context).split()[-1]
        facts = json.loads(self.buildah("inspect", "--type", "image", image))
        return {**facts["OCIv1"]["config"], "Root": self.root(image)}

    def root(self, image: str = BASE) -> str:
        """Return the path of a new, writable file system made of an image."""
        return self.buildah("mount", self.buildah("from", "--pull-never", image).strip()).strip()

    def close(self) -> None:
        subprocess.run([*self._buildah, "rm", "--all"], capture_output=True, check=False)
        subprocess.run([*self._buildah, "rmi", "--all", "--force"], capture_output=True, check=False)


class Container:
    """One container of runc, with the network of this machine or none but its own loopback."""

    def __init__(
        self,
        folder: Path,
        root: str,
        arguments: list[str],
        env: dict[str, str],
        uid: int = 1000,
        mounts: tuple[dict[str, Any], ...] = (),
        read_only: bool = True,
        network: bool = True,
    ) -> None:
        self._name = f"apm-run-test-{os.getpid()}-{time.monotonic_ns()}"
        self._state = str(folder / "runc")
        self._bundle = folder / self._name
        self._bundle.mkdir(parents=True)
        spaces = ["pid", "mount", "ipc", "uts", *([] if network else ["network"])]
        process = {
            "terminal": False,
            "user": {"uid": uid, "gid": uid},
            "args": arguments,
            "env": [f"{name}={value}" for name, value in env.items()],
            "cwd": "/",
            "capabilities": {name: [] for name in ("bounding", "effective", "permitted")},
            "noNewPrivileges": True,
        }
        system = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        ]
        config = {
            "ociVersion": "1.0.2",
            "process": process,
            "root": {"path": root, "readonly": read_only},
            "hostname": "pod",
            "mounts": [*system, *mounts],
            "linux": {"namespaces": [{"type": space} for space in spaces]},
        }
        (self._bundle / "config.json").write_text(json.dumps(config))
        self._process: subprocess.Popen[bytes] | None = None

    def _runc(self, *words: object) -> list[str]:
        return ["runc", "--root", self._state, *(str(word) for word in words)]

    def run(self, timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end."""
        words = self._runc("run", "-b", self._bundle, self._name)
        return subprocess.run(words, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=timeout)

    def start(self) -> None:
        """Start it in the background; its streams go to files."""
        with (self._bundle / "stdout").open("wb") as out, (self._bundle / "stderr").open("wb") as err:
            self._process = subprocess.Popen(
                self._runc("run", "-b", self._bundle, self._name), stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    def execute(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
        """Run another command in it, as a kubelet runs a hook."""
        command = self._runc("exec", self._name, *words)
        return subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=timeout)

    def execute_when_up(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """The same, for a container that has nothing to answer with: as soon as it runs."""
        deadline = time.monotonic() + 30
        while subprocess.run(self._runc("exec", self._name, "true"), capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, "the container does not come up"
            time.sleep(0.05)
        return self.execute(*words)

    def end(self, number: str = "TERM", timeout: float = 30) -> int:
        """Send its PID 1 a signal and return the exit code of the container."""
        assert self._process is not None
        call(*self._runc("kill", self._name, number))
        return self._process.wait(timeout)

    def said(self) -> bytes:
        """What it wrote to stdout and stderr."""
        return (self._bundle / "stdout").read_bytes() + (self._bundle / "stderr").read_bytes()

    def close(self) -> None:
        subprocess.run(self._runc("delete", "--force", self._name), capture_output=True, check=False)
        if self._process is not None:
            self._process.wait(30)


class Pod:
    """The pod of a Kubernetes manifest, as far as the examples use one.

    :param replaced: environment variable -> value, in place of what the manifest has.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], roots: dict[str, str], replaced: dict[str, str]) -> None:
        self._folder, self._roots, self._replaced = folder, roots, replaced
        self.spec: dict[str, Any] = manifest["spec"]["template"]["spec"]
        for volume in self.spec["volumes"]:
            path = folder / "volumes" / volume["name"]
            path.mkdir(parents=True)
            path.chmod(0o777)  # as an emptyDir is: root's own, open to all

    @contextlib.contextmanager
    def container(self, spec: dict[str, Any]) -> Iterator[Container]:
        """Yield a container of ``initContainers`` or ``containers``, not yet started."""
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        for entry in spec.get("env", ()):
            env[entry["name"]] = self._replaced.get(entry["name"], entry.get("value", "a-secret"))
        mounts = tuple(
            {
                "destination": mount["mountPath"],
                "type": "bind",
                "source": str(self._folder / "volumes" / mount["name"]),
                "options": ["bind", "ro" if mount.get("readOnly") else "rw"],
            }
            for mount in spec["volumeMounts"]
        )
        container = Container(
            self._folder,
            self._roots[spec["image"]],
            spec["command"],
            env,
            uid=self.spec["securityContext"]["runAsUser"],
            mounts=mounts,
            read_only=spec["securityContext"]["readOnlyRootFilesystem"],
        )
        try:
            yield container
        finally:
            container.close()
