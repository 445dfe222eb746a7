"""A server that any agent can send to, and that the programs call: it answers at once and counts.

``python sink.py [TEMPER] [ADDRESS]``: prints its port. A temper is ``fine``, ``503`` or ``hang``. ``GET /counted``
tells what has come: requests, bytes and, of intake v2, events by their kind; ``GET /forget`` begins anew.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import zlib
from collections import Counter


class Sink:
    """What has come."""

    def __init__(self, temper: str) -> None:
        self.temper = temper
        self.forget()

    def forget(self) -> None:
        self.bodies: list[bytes] = []
        self.requests = self.bytes = 0

    def counted(self) -> dict[str, object]:
        """Requests, bytes, and events of intake v2."""
        kinds: Counter[str] = Counter()
        for body in self.bodies:
            for line in _plain(body).splitlines():
                kinds[line[2 : line.find(b'"', 2)].decode("latin-1")] += 1
        return {"requests": self.requests, "bytes": self.bytes, "events": dict(kinds)}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        line, *lines = head.decode("latin-1").split("\r\n")
        path = line.split(" ")[1].partition("?")[0]
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
        body = await _body(reader, headers)
        status, answer = "200 OK", b'{"version":"8.17.0","rate_by_service":{},"endpoints":["/v0.4/traces"]}'
        if path == "/target":
            answer = b"ok"
        elif path == "/counted":
            answer = json.dumps(self.counted()).encode()
        elif path == "/forget":
            self.forget()
        else:
            if self.temper == "hang":
                await asyncio.sleep(3600)
            self.requests += 1
            self.bytes += len(head) + len(body)
            if path == "/intake/v2/events":
                self.bodies.append(body)
                status, answer = "202 Accepted", b""
            if self.temper == "503":
                status, answer = "503 Service Unavailable", b""
        kind = "text/plain" if path == "/target" else "application/json"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(answer)}\r\n\r\n".encode())
        writer.write(answer)
        return True


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length") or 0))
    parts = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(parts)


def _plain(body: bytes) -> bytes:
    if body[:2] == b"\x1f\x8b":
        return gzip.decompress(body)
    return zlib.decompress(body) if body[:1] == b"x" else body


async def main(temper: str = "fine", address: str = "127.0.0.1") -> None:
    """Serve until the end of the standard input."""
    server = await asyncio.start_server(Sink(temper).serve, address, 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    sys.exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
