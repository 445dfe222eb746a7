"""What answers as Elasticsearch does: osmem, an emulator of OpenSearch in memory.

Clients of release 8 and 9 name media types that it does not know, and want to hear the product's name: HAProxy in front
of it says both in their words, and answers a few paths itself: what it is, what it was asked with, and nonsense.
"""

from __future__ import annotations

from urllib.error import URLError
from urllib.request import urlopen

from integration.services import Service, packaged

_PRODUCT = (
    '{"name":"node","cluster_name":"test","cluster_uuid":"test","version":{"number":"7.17.29","build_flavor":"default"},'
    '"tagline":"You Know, for Search"}'
)
_ECHO = '{"traceparent":"%[req.hdr(traceparent)]","tracestate":"%[req.hdr(tracestate)]"}'
_HEADER = "hdr X-Elastic-Product Elasticsearch"

_SHIM = """
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend shim
  bind 127.0.0.1:{port}
  http-request set-var(txn.accept) req.hdr(accept)
  http-request replace-header Content-Type application/vnd\\.elasticsearch\\+(x-ndjson|json).* application/\\1
  http-request replace-header Accept application/vnd\\.elasticsearch\\+(x-ndjson|json).* application/\\1
  http-request return status 200 content-type application/json string '{product}' {header} if {{ path / }}
  http-request return status 200 content-type application/json lf-string '{echo}' {header} if {{ path /echo }}
  http-request return status 503 content-type application/json string '{{}}' {header} if {{ path /unavailable }}
  http-request return status 200 content-type application/json string '{{' {header} if {{ path /garbage }}
  http-response set-header Content-Type %[var(txn.accept)]
  http-response set-header X-Elastic-Product Elasticsearch
  http-response set-header X-Found-Handling-Cluster cluster-1
  default_backend osmem
backend osmem
  server osmem 127.0.0.1:{behind}
"""


class Osmem(Service):
    """The emulator itself."""

    def command(self) -> list[str]:
        program = packaged("osmem_server/bin/osmem-server")
        return [program, "-addr", f"127.0.0.1:{self.port}", "-no-stdin-watch", "-no-ja"]

    def ready(self) -> bool:
        return _answers(self.port)


class Elasticsearch(Service):
    """The emulator as Elasticsearch of release 8."""

    commands = ("haproxy",)

    def prepare(self) -> None:
        self.behind = Osmem().__enter__()
        words = {"product": _PRODUCT, "echo": _ECHO, "header": _HEADER}
        (self.folder / "shim.cfg").write_text(_SHIM.format(port=self.port, behind=self.behind.port, **words))

    def command(self) -> list[str]:
        return ["haproxy", "-db", "-f", str(self.folder / "shim.cfg")]

    def ready(self) -> bool:
        return _answers(self.port)

    def clean(self) -> None:
        if hasattr(self, "behind"):
            self.behind.__exit__()


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/", timeout=1) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False
