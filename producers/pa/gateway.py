"""PA's endpoints over HTTP: each body becomes one request on the log.

For: taking today's calls of PA unchanged, and answering with success only what Kafka has acknowledged. Must not: keep
anything (a request that got no success is the sender's to repeat), judge what only the fold can judge, or retry.

Statuses: 200, as PA's webhooks answered until now, although the event is only on the log yet; 400 not understandable;
404 no such profile or target; 408 and 413 too slow, too large; 422 the fold would reject it whatever else is known; 503
not known to be on the log: send it again with the ``requestId`` of the answer as ``Idempotency-Key``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from time import monotonic
from typing import Any, Protocol, TypeVar

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from peaktime.core.capacity import Profiles
from peaktime.core.requests import LONGEST, refusal
from peaktime.errors import PeaktimeError, PublishError, RequestError, SchemaRefusedError, SchemaUnavailableError
from peaktime.metrics import Metrics
from producers.pa.mapping import (
    EXAMPLE_BODY,
    Endpoint,
    known_endpoints,
    parse_endpoint,
    request_from_pa,
    unknown,
)
from producers.publish import Position
from schemas.catalogue import Catalogue, TopicSpec
from schemas.records import ScaleRequest

LARGEST_BODY = 64 * 1024
# Read and forgotten, because a sender that is cut off while it sends never sees why.
_MOST_SKIPPED = 16 * LARGEST_BODY
_RETRY_AFTER = "5"

logger = structlog.get_logger("peaktime.gateway")
T = TypeVar("T")


class Publishing(Protocol):
    """What the gateway needs of ``producers.publish.Publisher``."""

    @property
    def catalogue(self) -> Catalogue:
        """The topics."""

    def publish(self, spec: TopicSpec, key: str | bytes | None, record: Any) -> Position:
        """Write one record; raises PublishError unless it is durable."""


def create_gateway(
    publisher: Publishing,
    profiles: Profiles,
    clock: Callable[[], datetime],
    *,
    ready: Callable[[], None],
    metrics: Metrics,
    in_flight: int = 64,
    body_seconds: float = 10.0,
) -> Starlette:
    """The gateway as an ASGI application.

    Args:
        publisher: where requests go; blocking, used from threads.
        profiles: which endpoints there are.
        clock: the time now (aware), for the early answer and ``requestedAt``.
        ready: returns if Kafka can be reached, raises a PeaktimeError if not; blocking, with its own timeout.
        metrics: counts the answers; served at ``/metrics``.
        in_flight: how many requests may wait for Kafka; one more is answered 503 at once.
        body_seconds: how long a body may take to arrive.
    """
    gateway = _Gateway(publisher, profiles, clock, ready, metrics, in_flight, body_seconds)
    return Starlette(
        routes=[
            Route("/", gateway.help, methods=["GET"]),
            Route("/healthz", gateway.healthz, methods=["GET"]),
            Route("/readyz", gateway.readyz, methods=["GET"]),
            Route("/metrics", gateway.metrics_page, methods=["GET"]),
            Route("/{endpoint}", gateway.take, methods=["POST"]),
            # Not a redirect: most senders do not follow one with a POST, and take it for success.
            Route("/{endpoint}/", gateway.take, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _http_error},
        lifespan=gateway.lifespan,
    )


class _AnswerError(Exception):
    """An answer that ends the handling of a request before it is on the log."""

    def __init__(self, status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, content)
        self.response = JSONResponse(content, status, headers)


class _Gateway:
    def __init__(
        self,
        publisher: Publishing,
        profiles: Profiles,
        clock: Callable[[], datetime],
        ready: Callable[[], None],
        metrics: Metrics,
        in_flight: int,
        body_seconds: float,
    ) -> None:
        self._publisher = publisher
        self._requests = publisher.catalogue.requests
        self._profiles = profiles
        self._clock = clock
        self._ready = ready
        self._metrics = metrics
        self._most = in_flight
        self._body_seconds = body_seconds
        self._waiting = 0
        self._threads: ThreadPoolExecutor | None = None

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        # One thread more than publishes may wait, so that readiness is told while all of them do.
        with ThreadPoolExecutor(self._most + 1, thread_name_prefix="gateway") as self._threads:
            yield

    async def take(self, request: Request) -> Response:
        """POST to one of PA's endpoints."""
        began = monotonic()
        try:
            response = await self._taken(request)
        except _AnswerError as answer:
            response = answer.response
        except ClientDisconnect:
            response = Response(status_code=400)  # nobody is there to read it; it is only counted
        self._metrics.gateway_answers.labels(str(response.status_code)).inc()
        self._metrics.gateway_seconds.observe(monotonic() - began)
        return response

    async def _taken(self, request: Request) -> Response:
        endpoint = self._endpoint(request.path_params["endpoint"])
        request_id = _idempotency_key(request)
        body = _parsed(await _body(request, self._body_seconds))
        now = self._clock()
        try:
            wanted = request_from_pa(body, endpoint, profiles=self._profiles, now=now, request_id=request_id)
        except RequestError as error:
            raise _refused(400, error) from error
        # That it is over may be just what it wants to say: an end in the past ends an open window, if there is one.
        refused = refusal(wanted, now, ends_open_window=True)
        if refused is not None:
            logger.info("refused", request_id=wanted.request_id, endpoint=endpoint.name, code=refused[0])
            content = {"error": "refused", "code": refused[0], "reasons": [refused[1]], "requestId": wanted.request_id}
            raise _AnswerError(422, content)
        position = await self._published(wanted)
        logger.info("published", request_id=wanted.request_id, endpoint=endpoint.name, position=str(position))
        return JSONResponse(
            {
                "requestId": wanted.request_id,
                "target": wanted.target,
                "eventDate": wanted.event_date,
                "position": {"topic": position.topic, "partition": position.partition, "offset": position.offset},
            },
        )

    def _endpoint(self, name: str) -> Endpoint:
        known = known_endpoints(self._profiles)
        try:
            endpoint = parse_endpoint(name)
        except RequestError as error:
            raise _refused(404, error, known=known) from error
        why = unknown(endpoint, self._profiles)
        if why is not None:
            raise _refused(404, RequestError(f"endpoint {name}", why, "Use a known one; GET / lists them"), known=known)
        return endpoint

    async def _published(self, wanted: ScaleRequest) -> Position:
        if self._waiting >= self._most:
            raise _unavailable(wanted, f"{self._most} requests are waiting for Kafka already")
        self._waiting += 1
        try:
            return await self._in_thread(lambda: self._publisher.publish(self._requests, wanted.target, wanted))
        except (PublishError, SchemaUnavailableError, SchemaRefusedError) as error:
            logger.warning("not acknowledged", request_id=wanted.request_id, reason=str(error))
            raise _unavailable(wanted, error.reason) from error
        finally:
            self._waiting -= 1

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def healthz(self, _request: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        """Kafka can be reached."""
        try:
            await self._in_thread(self._ready)
        except PeaktimeError as error:
            return JSONResponse({"status": "not ready", "reasons": [str(error)]}, 503, {"Retry-After": _RETRY_AFTER})
        return JSONResponse({"status": "ready"})

    async def metrics_page(self, _request: Request) -> Response:
        """The metrics in Prometheus' text format."""
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def help(self, _request: Request) -> Response:
        """What can be sent where."""
        return PlainTextResponse(_HELP + "".join(f"  POST /{name}\n" for name in known_endpoints(self._profiles)))


_HELP = f"""peaktime gateway: one POST is one request; 200 means that it is safely on the log.

  POST /create-<target>-<day>-<band>   scale out
  POST /delete-<target>-<day>-<band>   scale in
  POST /event-delete-<target>          withdraw the event of that eventDate
  GET  /healthz /readyz /metrics

Body: {EXAMPLE_BODY}
message may also have owner, startsAt, endsAt, description, requestId, revision, requestedAt.
After a 503 or no answer, send it again with the same Idempotency-Key header (or requestId): it counts once.

Known endpoints:
"""


async def _body(request: Request, seconds: float) -> bytes:
    content = bytearray()
    total = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                total += len(chunk)
                if total <= LARGEST_BODY:
                    content += chunk
                elif total > _MOST_SKIPPED:
                    break
    except TimeoutError as error:
        reason = f"the body did not arrive within {seconds:g} s"
        raise _AnswerError(408, {"error": "too slow", "reasons": [reason]}) from error
    if total > LARGEST_BODY:
        reason = f"the body is larger than {LARGEST_BODY // 1024} KiB; an event needs far less"
        raise _AnswerError(413, {"error": "too large", "reasons": [reason]}, {"Connection": "close"})
    return bytes(content)


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        reason = "the body is not UTF-8 text"
        raise _AnswerError(400, {"error": "not JSON", "reasons": [reason]}) from error
    except json.JSONDecodeError as error:
        reason = f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise _AnswerError(400, {"error": "not JSON", "reasons": [reason, f"send one like {EXAMPLE_BODY}"]}) from error
    except (ValueError, RecursionError) as error:  # numbers without end, nesting without end
        reason = "the body is JSON that nobody needs for an event"
        raise _AnswerError(400, {"error": "not JSON", "reasons": [reason, f"send one like {EXAMPLE_BODY}"]}) from error


def _idempotency_key(request: Request) -> str | None:
    """The header's value without the quotes of a structured field; None if there is no such header."""
    values = set(request.headers.getlist("idempotency-key"))
    if not values:
        return None
    key = values.pop().strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if values or not key.isascii() or not key.isprintable() or not 0 < len(key) <= LONGEST["request_id"]:
        reason = f"Idempotency-Key must be one text of 1 to {LONGEST['request_id']} printable ASCII characters"
        raise _AnswerError(400, {"error": "wrong header", "reasons": [reason]})
    return key


def _refused(status: int, error: RequestError, **more: object) -> _AnswerError:
    words = {400: "not understood", 404: "not known"}
    content = {"error": words[status], "about": error.thing, "reasons": list(error.reasons), "remedy": error.remedy}
    return _AnswerError(status, {**content, **more})


def _unavailable(wanted: ScaleRequest, reason: str) -> _AnswerError:
    content = {
        "error": "not acknowledged",
        "reasons": [f"the request is not known to be on the log: {reason}"],
        "remedy": "Send it again with this requestId as Idempotency-Key; if it did arrive, it counts once",
        "requestId": wanted.request_id,
    }
    return _AnswerError(503, content, {"Retry-After": _RETRY_AFTER})


async def _http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else ""
    content = {"error": detail.lower(), "reasons": ["PA's endpoints take POST; GET / tells which there are"]}
    return JSONResponse(content, status, getattr(error, "headers", None))
