"""Whether a worker lives and is ready, and its metrics, over HTTP.

Alive means that what is delivered gets handled, not that the process exists. It changes nothing.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable, Sequence

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from peaktime.metrics import Metrics, taken
from processors.driver import App

#: A record that was delivered and is not handled after this long (s) means that a worker hangs.
_STUCK = 120.0


class Health:
    """``/livez``, ``/readyz`` and ``/metrics`` of one worker."""

    def __init__(self, metrics: Metrics, apps: Sequence[App], session: float) -> None:
        self._metrics, self._apps, self._session = metrics, apps, session
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            SettingsError: nobody can listen there, mostly because somebody else does.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listening = socket.create_server((host, port), family=family)
        except OSError as error:
            raise taken(host, port, error) from error
        routes = [
            Route("/livez", self._live),
            Route("/readyz", self._ready),
            Route("/metrics", self._scrape),
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_config=None, access_log=False)
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._task = asyncio.create_task(self._server._serve([listening]), name="health")  # noqa: SLF001  (the library offers no public way)

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task

    async def _live(self, _: Request) -> Response:
        if self._waiting():
            # A restart would mend nothing: the registry is away, not this process.
            return _answer(())
        stuck = [app.conf.id for app in self._apps if app.progress.oldest_wait(time.monotonic()) > _STUCK]
        return _answer(f"{name}: a record waits for over {_STUCK:.0f} s" for name in stuck)

    async def _ready(self, _: Request) -> Response:
        reasons = [f"{app.conf.id}: no partitions yet, or the group is being balanced"
                   for app in self._apps if not app.ownership.settled]  # fmt: skip
        if not self._apps:
            reasons.append("starting: nothing is read yet")
        if self._waiting():
            reasons.append("waiting for the schema registry")
        return _answer(reasons)

    def _waiting(self) -> bool:
        return bool(self._metrics.schema_waiting._value.get())  # noqa: SLF001  (the library offers no public way)

    async def _scrape(self, _: Request) -> Response:
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _answer(reasons: Iterable[str]) -> Response:
    text = "\n".join(reasons)
    return PlainTextResponse(text or "ok", status_code=503 if text else 200)
