"""One connection to a Kubernetes API server: calls and watches, each with an end, and what went wrong as an error.

It knows HTTP, time-outs and the server's ways of refusing. It must not keep objects, wait, or try anything again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import structlog
import yaml
from kubernetes.aio import client, config

from peaktime.core.runs import Manifest
from peaktime.errors import ClusterError
from processors.reconcile.cluster import BusyError, ConflictError, RefusedError, UnconfiguredError

log = structlog.get_logger(__name__)

#: A call that has no answer after this long (s) is given up: whether it was done is found out by looking again.
CALL_SECONDS = 10.0
#: A watch that the server has not ended this long (s) after it should have is dead.
_OVERTIME = 3.0
_LONGEST_TEXT = 500
#: What the library raises for a file that holds something else than a kubeconfig.
_NO_KUBECONFIG = (TypeError, ValueError, KeyError, AttributeError)
_UNAUTHORIZED, _NOT_FOUND, _CONFLICT, _GONE = 401, 404, 409, 410
_NOT_NOW = frozenset({_UNAUTHORIZED, 408, 429})

Query = Iterable[tuple[str, str]]
Body = Manifest | list[dict[str, Any]]


class GoneError(ClusterError):
    """The server does not know this version any more (410): list again."""


class Api:
    """A connection to an API server."""

    def __init__(self, kubeconfig: Path | None) -> None:
        """Prepare; nothing is opened yet.

        Args:
            kubeconfig: file with the connection; None for the pod's own, else the default file.
        """
        self._kubeconfig = kubeconfig
        self._client: client.ApiClient | None = None
        self._renewing = asyncio.Lock()

    async def open(self) -> None:
        """Read how to connect. Raises ClusterError if that is not configured."""
        self._client = await connected(self._kubeconfig)

    async def close(self) -> None:
        """End all connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def call(
        self, method: str, path: str, body: Body | None = None, *, query: Query = (),
        content: str = "application/json",
    ) -> Manifest:  # fmt: skip
        """Ask, and give the answer.

        Raises:
            ConflictError: 409, or 404 of something that was to be there.
            RefusedError: any other 4xx that is the call's own fault.
            GoneError: 410.
            BusyError: no answer in time, 5xx, 408, 429, or 401 (a token may be on its way).
        """
        where = path.rpartition("/")[2]
        try:
            async with asyncio.timeout(CALL_SECONDS):
                response = await self._send(method, path, body, query, content, CALL_SECONDS)
                data = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unanswered(where, error) from error
        if response.status >= 400:  # noqa: PLR2004  (its meaning stands beside it)
            raise explained(where, method, response.status, data, response.headers.get("Retry-After"))
        try:
            answer: Manifest = json.loads(data)
        except ValueError as error:
            raise _unanswered(where, error) from error
        return answer

    @asynccontextmanager
    async def watch(self, path: str, query: Query, seconds: int) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The events of a watch until the server ends it, which it is asked to do after these seconds.

        Raises:
            ClusterError: as ``call`` does; BusyError also when it is cut, or goes on in silence beyond its end.
        """
        where = path.rpartition("/")[2]
        asked = [*query, ("watch", "true"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", str(seconds))]
        try:
            async with asyncio.timeout(CALL_SECONDS):
                response = await self._send("GET", path, None, asked, "application/json", seconds + _OVERTIME)
                if response.status >= 400:  # noqa: PLR2004  (its meaning stands beside it)
                    data = await response.read()
                    raise explained(where, "GET", response.status, data, response.headers.get("Retry-After"))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unanswered(where, error) from error
        try:
            yield _events(where, response.response)
        finally:
            # An orderly end of TLS would outlive the event loop: nobody awaits it.
            connection = response.response.connection
            if connection is not None and connection.transport is not None:
                connection.transport.abort()
            response.response.close()

    async def _send(
        self, method: str, path: str, body: Body | None, query: Query, content: str, seconds: float,
    ) -> Any:  # fmt: skip
        if self._client is None:
            raise ClusterError("Kubernetes", "the connection is closed", "Start again")
        method, url, headers, sent, _ = await self._client.param_serialize(
            method,
            path,
            query_params=list(query),
            header_params={"Content-Type": content, "Accept": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        token = self._client.configuration.api_key
        response = await self._client.call_api(method, url, headers, sent, _request_timeout=seconds)
        if response.status == _UNAUTHORIZED:
            await self._renew(self._client.configuration, token)
        return response

    async def _renew(self, connection: client.Configuration, token: dict[str, str]) -> None:
        """Take the token from the kubeconfig once more: it may be another by now. A pod's own is read every minute."""
        async with self._renewing:
            if connection.refresh_api_key_hook is not None or connection.api_key is not token:
                return
            try:
                fresh = await connected(self._kubeconfig)
            except ClusterError as error:
                log.warning("the kubeconfig cannot be read again", error=str(error))
                return
            connection.api_key = fresh.configuration.api_key
            await fresh.close()


async def _events(where: str, response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    try:
        async for line in response.content:
            event: dict[str, Any] = json.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise explained(where, "GET", int(status.get("code") or 0), json.dumps(status).encode(), None)
            yield event
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise _unanswered(where, error) from error


def explained(where: str, method: str, status: int, body: bytes, retry_after: str | None) -> ClusterError:
    """An answer of the server as an error.

    Args:
        where: what was asked for.
        method: how.
        status: the HTTP status.
        body: the answer, mostly a ``Status`` as JSON.
        retry_after: that header, if there was one: seconds, or a date.
    """
    text = f"{status} {_message(body)}"[:_LONGEST_TEXT]
    if status == _CONFLICT or (status == _NOT_FOUND and method in ("DELETE", "PATCH", "GET")):
        return ConflictError(where, text, "Look again")
    if status == _GONE:
        return GoneError(where, text, "List again")
    if 400 <= status < 500 and status not in _NOT_NOW:  # noqa: PLR2004  (its meaning stands beside it)
        return RefusedError(where, f"the API server refused: {text}", "Mend what the message names")
    after = _seconds(retry_after)
    return BusyError(where, f"the API server cannot now: {text}", "It is tried again", after=after)


def _unanswered(where: str, error: Exception) -> BusyError:
    reason = f"the API server did not answer: {str(error) or type(error).__name__}"
    return BusyError(where, reason, "It is tried again")


def _message(body: bytes) -> str:
    """What the server says, with the names of other managers where fields are theirs."""
    try:
        status = json.loads(body)
        causes = (status.get("details") or {}).get("causes") or []
        theirs = [
            f"{c.get('message')} at {c.get('field')}" for c in causes if c.get("reason") == "FieldManagerConflict"
        ]
        return "; ".join([str(status.get("message") or status.get("reason") or ""), *theirs])
    except (ValueError, AttributeError):
        return body.decode(errors="replace")


def _seconds(retry_after: str | None) -> float | None:
    if not retry_after:
        return None
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


async def connected(kubeconfig: Path | None) -> client.ApiClient:
    """A client of the API server; nothing is sent yet.

    Args:
        kubeconfig: file with the connection; None for the pod's own, else the default file.

    Raises:
        UnconfiguredError: no connection is configured.
        ClusterError: the file cannot be used.
    """
    connection = client.Configuration()
    try:
        if kubeconfig is not None:
            await config.load_kube_config(
                config_file=str(kubeconfig),
                client_configuration=connection,
                persist_config=False,
            )
        else:
            await _default_config(connection)
        # Left to itself, each call looks anew for proxies and passwords, in threads of its own: 2 ms of 9.
        connection.client_session_kwargs = {"trust_env": False}
        connection.proxy = connection.proxy or _proxy_of(connection.host)
        return client.ApiClient(connection)
    except (yaml.YAMLError, *_NO_KUBECONFIG) as error:
        reason = f"{kubeconfig or 'the default kubeconfig'} is none: {str(error) or type(error).__name__}"
        raise ClusterError("Kubernetes", reason, "Mend the file, or set PEAKTIME_KUBECONFIG to another") from error
    except (config.ConfigException, OSError) as error:
        kind = UnconfiguredError if kubeconfig is None and isinstance(error, config.ConfigException) else ClusterError
        raise kind(
            "Kubernetes",
            f"no connection is configured: {error}",
            "Set PEAKTIME_KUBECONFIG or run in a pod",
        ) from error


def _proxy_of(server: str) -> str | None:
    """The proxy that the environment names for a server (``HTTPS_PROXY``, ``NO_PROXY`` and the like); None without."""
    url = urlsplit(server)
    if proxy_bypass(url.netloc) or proxy_bypass(url.hostname or ""):
        return None
    return getproxies().get(url.scheme)


async def _default_config(connection: client.Configuration) -> None:
    try:
        config.load_incluster_config(client_configuration=connection)
    except config.ConfigException:
        await config.load_kube_config(client_configuration=connection, persist_config=False)
