"""A proxy before a real API server that fails on purpose: plain HTTP on loopback, TLS to the server.

Faults are switched while it runs. It counts every call, also those that it answers itself.
"""

import asyncio
import json
import random
import ssl
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp
import yaml
from aiohttp import web
from support.engines.process import free_port

WRITES = frozenset({"create", "apply", "delete"})
_VERBS = {"POST": "create", "PATCH": "apply", "DELETE": "delete"}
_PASSED_ON = frozenset({"authorization", "content-type", "accept"})


@dataclass(frozen=True)
class Call:
    """One call: when (monotonic), what, of which object, and which fault met it."""

    at: float
    verb: str
    kind: str
    name: str
    fault: str


class FaultProxy:
    """Use as a context manager.

    Attributes:
        calls: all calls so far, in order.
        doubled: objects of which a second write came while the first was under way.
        url: its address.
    """

    def __init__(self, url: str, ca_file: Path, *, seed: int = 1) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.calls: list[Call] = []
        self.doubled: list[tuple[str, str]] = []
        self._under_way: set[tuple[str, str]] = set()
        self._upstream, self._ca_file = url, ca_file
        self._faults: tuple[str, ...] = ()
        self._share = 1.0
        self._dice = random.Random(seed)
        self._silenced = 0.0
        self._passing = asyncio.Event()
        self._passing.set()
        self._held = 0
        self._watches: dict[asyncio.Transport, float] = {}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def kubeconfig(self, real: Path, folder: Path) -> Path:
        """A kubeconfig that leads here, with the identity of another."""
        content = yaml.safe_load(real.read_text(encoding="utf-8"))
        for cluster in content["clusters"]:
            cluster["cluster"] = {"server": self.url}
        path = folder / f"proxy-{self.port}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    @contextmanager
    def failing(self, *faults: str, share: float = 1.0):
        """Fail meanwhile: one of these faults, drawn for each call, for this share of the calls.

        429, 500, 409: the answer; reset: a write is done and its connection reset; silence: nothing is answered any
        more, and never again on watches that are open; cut: each watch ends without notice after a second; 410: a
        watch is too old.
        """
        self._faults, self._share = faults, share
        if "silence" in faults:
            self._silenced = time.monotonic()
        elif {"cut", "410"} & set(faults):
            self._loop.call_soon_threadsafe(self._cut)
        try:
            yield
        finally:
            self._faults = ()

    @contextmanager
    def holding(self):
        """Hold every write back meanwhile, and let them through afterwards, late."""
        self._loop.call_soon_threadsafe(self._passing.clear)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._passing.set)

    @property
    def held(self) -> int:
        """How many writes are held back."""
        return self._held

    @property
    def watching(self) -> int:
        """How many watches are open that are not silent for ever."""
        return sum(begun >= self._silenced for begun in self._watches.copy().values())

    def count(self, since: int = 0, **wanted: str) -> int:
        """How many calls there were, of those after the first so many, with these attributes."""
        return sum(all(getattr(c, n) == v for n, v in wanted.items()) for c in self.calls[since:])

    def writes(self, since: int = 0) -> Counter[tuple[str, str]]:
        """By kind and name, how often an object was tried to be written."""
        return Counter((c.kind, c.name) for c in self.calls[since:] if c.verb in WRITES)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        tls = ssl.create_default_context(cafile=str(self._ca_file))
        connector = aiohttp.TCPConnector(ssl=tls, limit=0)
        async with aiohttp.ClientSession(self._upstream, connector=connector, read_bufsize=2**21) as self._session:
            app = web.Application(client_max_size=2**24)
            app.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
            self._ready.set()
            await self._stopped.wait()
            await runner.cleanup()

    def _cut(self) -> None:
        for transport in self._watches:
            transport.abort()

    def _fault(self, verb: str) -> str:
        """The fault that meets a call."""
        if "silence" in self._faults:
            return "silence"
        fitting = {"watch": ("cut", "410", "500", "429"), "list": ("429", "500"), "get": ("429", "500")}
        fits = fitting.get(verb, ("429", "500", "409", "reset"))
        faults = [fault for fault in self._faults if fault in fits]
        return self._dice.choice(faults) if faults and self._dice.random() < self._share else ""

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        kind, _, name = request.path.partition("/namespaces/")[2].partition("/")[2].partition("/")
        watching = request.query.get("watch") == "true"
        verb = _VERBS.get(request.method) or ("watch" if watching else "get" if name else "list")
        name = name or (json.loads(body)["metadata"]["name"] if body else "")
        fault = self._fault(verb)
        self.calls.append(Call(time.monotonic(), verb, kind, name, fault))
        if verb not in WRITES:
            return await self._answer(request, body, verb, fault)
        if (kind, name) in self._under_way:
            self.doubled.append((kind, name))
        self._under_way.add((kind, name))
        try:
            return await self._answer(request, body, verb, fault)
        finally:
            self._under_way.discard((kind, name))

    async def _answer(self, request: web.Request, body: bytes, verb: str, fault: str) -> web.StreamResponse:
        if fault == "silence":
            await asyncio.Event().wait()
        if fault in ("429", "500", "409") or (fault == "410" and self._dice.random() < 0.5):
            return _refusal(int(fault))
        if verb in WRITES and not self._passing.is_set():
            self._held += 1
            await self._passing.wait()
        headers = {n: v for n, v in request.headers.items() if n.lower() in _PASSED_ON}
        if verb == "watch":
            return await self._watch(request, headers, fault)
        async with self._session.request(request.method, request.rel_url, data=body, headers=headers) as answer:
            text = await answer.read()
            if fault == "reset":
                request.transport.abort()
            return web.Response(status=answer.status, body=text, content_type=answer.content_type)

    async def _watch(self, request: web.Request, headers: dict[str, str], fault: str) -> web.StreamResponse:
        begun = time.monotonic()
        response = web.StreamResponse()
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(request.rel_url, headers=headers, timeout=timeout) as answer:
            response.set_status(answer.status)
            await response.prepare(request)
            if fault == "410":
                status = {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}
                await response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
                return response
            transport = request.transport
            self._watches[transport] = begun
            try:
                async with asyncio.timeout(1 if fault == "cut" else None):
                    async for line in answer.content:
                        await self._unless_silent(begun)
                        await response.write(line)
            except TimeoutError:
                transport.abort()
            finally:
                del self._watches[transport]
            await self._unless_silent(begun)
        return response

    async def _unless_silent(self, begun: float) -> None:
        if begun < self._silenced:
            await asyncio.Event().wait()


def _refusal(code: int) -> web.Response:
    reason = {429: "TooManyRequests", 500: "InternalError", 409: "Conflict", 410: "Expired"}[code]
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    headers = {"Retry-After": "1"} if code == 429 else {}
    return web.json_response({**status, "message": f"a fault: {reason}"}, status=code, headers=headers)
