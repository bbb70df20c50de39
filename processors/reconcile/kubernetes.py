"""The Kubernetes API as a cluster: listed once, then watched, so that an idle worker asks nothing.

Creates are POSTs; updates are server-side apply at the version that was seen; deletes name uid and resourceVersion and
leave Workflows behind. It decides nothing, and it retries nothing: the loop looks again.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from aiolimiter import AsyncLimiter
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from peaktime.core.desired import MANAGED_BY, OURS, Manifest
from peaktime.core.plan import Delete, Observed
from peaktime.errors import ClusterError
from peaktime.metrics import Metrics
from processors.reconcile.cluster import ConflictError, View, version

log = structlog.get_logger(__name__)

_GROUP, _VERSION = "argoproj.io", "v1alpha1"
_PLURALS = {"CronWorkflow": "cronworkflows", "Workflow": "workflows"}
_MANAGER = OURS
_PATIENCE = 30.0
_WATCH_SECONDS = 240
_GONE, _NOT_FOUND, _CONFLICT, _TOO_MANY = 410, 404, 409, 429
_LONGEST_PAUSE = 10.0


class Kubernetes:
    """A cluster behind a Kubernetes API."""

    def __init__(
        self,
        *,
        namespaces: Iterable[str],
        kubeconfig: Path | None,
        qps: float,
        burst: int,
        metrics: Metrics,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            namespaces: where our objects are.
            kubeconfig: file with the connection; None for the pod's own, else the default file.
            qps: writes a second.
            burst: writes at once above that rate.
            metrics: where to count.
        """
        self._namespaces = sorted(set(namespaces))
        self._kubeconfig = kubeconfig
        self._metrics = metrics
        self._view = View()
        self._limit = AsyncLimiter(burst, burst / qps)
        self._not_before = 0.0
        self._client: client.ApiClient | None = None
        self._listed: set[tuple[str, str]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._changed: Callable[[str], None] = lambda _: None

    async def start(self, changed: Callable[[str], None]) -> None:
        """Connect, and begin to list and watch."""
        self._changed = changed
        connection = client.Configuration()
        try:
            if self._kubeconfig is not None:
                await config.load_kube_config(
                    config_file=str(self._kubeconfig),
                    client_configuration=connection,
                    persist_config=False,
                )
            else:
                await _default_config(connection)
        except (config.ConfigException, OSError) as error:
            raise ClusterError(
                "Kubernetes",
                f"no connection is configured: {error}",
                "Set PEAKTIME_KUBECONFIG or run in a pod",
            ) from error
        self._client = client.ApiClient(connection)
        self._tasks = [
            asyncio.create_task(self._follow(kind, namespace), name=f"watch-{kind}-{namespace}")
            for kind in _PLURALS
            for namespace in self._namespaces
        ]

    async def stop(self) -> None:
        """End the watches and the connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
            self._client = None

    @property
    def synced(self) -> bool:
        """Whether every kind and namespace has been listed."""
        return len(self._listed) == len(_PLURALS) * len(self._namespaces)

    def observed(self, target: str, names: Iterable[str]) -> Observed:
        """What the view holds for a target, with foreign objects under these names."""
        return self._view.observed(target, names)

    def targets(self) -> set[str]:
        """The targets that objects of ours name."""
        return self._view.targets()

    async def create(self, manifest: Manifest) -> None:
        """Create an object by POST."""
        path = _path(manifest["kind"], manifest["metadata"]["namespace"])
        obj = await self._write("POST", path, manifest, query=[("fieldManager", _MANAGER)])
        self._seen(obj)

    async def apply(self, manifest: Manifest) -> None:
        """Server-side apply at the version that was seen; what others hold of our fields is taken back."""
        metadata = manifest["metadata"]
        path = f"{_path(manifest['kind'], metadata['namespace'])}/{metadata['name']}"
        query = [("fieldManager", _MANAGER), ("force", "true")]
        obj = await self._write("PATCH", path, manifest, query=query, content="application/apply-patch+yaml")
        self._seen(obj)

    async def delete(self, write: Delete) -> None:
        """Delete a CronWorkflow if it is the one that was seen; its Workflows stay."""
        body = {
            "propagationPolicy": "Orphan",
            "preconditions": {"uid": write.uid, "resourceVersion": write.resource_version},
        }
        await self._write("DELETE", f"{_path('CronWorkflow', write.namespace)}/{write.name}", body)

    def _seen(self, obj: Manifest) -> None:
        target = self._view.put(obj)
        if target:
            self._changed(target)

    async def _write(
        self, method: str, path: str, body: Manifest, *, query: list[tuple[str, str]] | None = None,
        content: str = "application/json",
    ) -> Manifest:  # fmt: skip
        pause = self._not_before - time.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        async with self._limit:
            return await self._call(method, path, body, query=query, content=content)

    async def _call(
        self, method: str, path: str, body: Manifest | None = None, *, query: list[tuple[str, str]] | None = None,
        content: str = "application/json",
    ) -> Manifest:  # fmt: skip
        where = path.rpartition("/")[2]
        if self._client is None:
            raise ClusterError("Kubernetes", "the connection is closed", "Start again")
        headers = {"Content-Type": content, "Accept": "application/json"}
        try:
            method, url, headers, sent, _ = await self._client.param_serialize(
                method,
                path,
                query_params=query or [],
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._client.call_api(method, url, headers, sent, _request_timeout=_PATIENCE)
            data = await response.read()
        except ApiException as error:
            raise self._explained(where, error) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = f"the API server did not answer: {error or type(error).__name__}"
            raise ClusterError(where, reason, "It is tried again") from error
        if response.status >= 400:  # noqa: PLR2004  (its meaning stands beside it)
            raise self._explained(where, ApiException(status=response.status, reason=data.decode(errors="replace")))
        result: Manifest = json.loads(data)
        return result

    def _explained(self, name: str, error: ApiException) -> ClusterError:
        status = int(error.status or 0)
        text = f"{status} {error.body or error.reason or ''}"[:500]
        if status in (_CONFLICT, _NOT_FOUND):
            return ConflictError(name, text, "Look again")
        after = (error.headers or {}).get("Retry-After", "")
        if status == _TOO_MANY or after:
            pause = float(after) if after.isdecimal() else 1.0
            self._not_before = max(self._not_before, time.monotonic() + min(pause, _LONGEST_PAUSE))
        return ClusterError(name, f"the API server refused: {text}", "It is tried again; see the message")

    async def _follow(self, kind: str, namespace: str) -> None:
        """Keep the view of a kind up to date for ever: list, watch, and list again when the watch cannot go on."""
        failures = 0
        while True:
            try:
                at = await self._list(kind, namespace)
                failures = 0
                while True:
                    at = await self._watch(kind, namespace, at)
            except (ClusterError, ApiException, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                gone = isinstance(error, ApiException) and error.status == _GONE
                failures += 0 if gone else 1
                self._metrics.watch_restarts.labels(kind=kind).inc()
                pause = random.uniform(0.5, 1.0) * min(0.1 * 2**failures, 5.0)
                log.info(
                    "watch begins anew",
                    kind=kind,
                    namespace=namespace,
                    reason=str(error),
                    again_in=round(pause, 2),
                )
                await asyncio.sleep(pause)

    def _query(self, kind: str) -> list[tuple[str, str]]:
        # Of CronWorkflows also those that are not ours: one may hold a name that we need.
        return [("labelSelector", f"{MANAGED_BY}={OURS}")] if kind == "Workflow" else []

    async def _list(self, kind: str, namespace: str) -> str:
        found: set[tuple[str, str, str]] = set()
        token, at = "", "0"
        touched: set[str | None] = set()
        while True:
            query = [*self._query(kind), ("limit", "500"), *([("continue", token)] if token else [])]
            page = await self._call("GET", _path(kind, namespace), query=query)
            at = page["metadata"]["resourceVersion"]
            for obj in page["items"]:
                obj.setdefault("kind", kind)
                obj.setdefault("apiVersion", f"{_GROUP}/{_VERSION}")
                found.add((kind, namespace, obj["metadata"]["name"]))
                touched.add(self._view.put(obj))
            token = page["metadata"].get("continue", "")
            if not token:
                break
        for key in self._view.keys(kind) - found:
            known = self._view.get(key)
            if key[1] == namespace and known is not None and version(known) <= int(at):
                touched.add(self._view.drop(key, int(at)))
        self._listed.add((kind, namespace))
        for target in touched:
            if target:
                self._changed(target)
        return str(at)

    async def _watch(self, kind: str, namespace: str, at: str) -> str:
        """Watch until the server ends it; the version to go on from."""
        if self._client is None:
            raise ClusterError("Kubernetes", "the connection is closed", "Start again")
        query = [
            *self._query(kind),
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", at),
            ("timeoutSeconds", str(_WATCH_SECONDS)),
        ]
        method, url, headers, _, _ = await self._client.param_serialize(
            "GET", _path(kind, namespace), query_params=query, header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )  # fmt: skip
        response = await self._client.call_api(method, url, headers, _request_timeout=_WATCH_SECONDS + _PATIENCE)
        try:
            if response.status >= 400:  # noqa: PLR2004  (its meaning stands beside it)
                raise ApiException(status=response.status, reason=(await response.read()).decode(errors="replace"))
            async for line in response.response.content:
                at = self._event(json.loads(line), at)
        finally:
            # An orderly end of TLS would outlive the event loop: nobody awaits it.
            if response.response.connection is not None and response.response.connection.transport is not None:
                response.response.connection.transport.abort()
        return at

    def _event(self, event: dict[str, Any], at: str) -> str:
        obj = event["object"]
        if event["type"] == "ERROR":
            raise ApiException(status=obj.get("code"), reason=obj.get("message"))
        at = obj["metadata"]["resourceVersion"]
        if event["type"] == "BOOKMARK":
            return str(at)
        if event["type"] == "DELETED":
            metadata = obj["metadata"]
            target = self._view.drop((obj["kind"], metadata.get("namespace", ""), metadata["name"]), int(at))
        else:
            target = self._view.put(obj)
        if target:
            self._changed(target)
        return str(at)


async def _default_config(connection: client.Configuration) -> None:
    try:
        config.load_incluster_config(client_configuration=connection)
    except config.ConfigException:
        await config.load_kube_config(client_configuration=connection, persist_config=False)


def _path(kind: str, namespace: str) -> str:
    return f"/apis/{_GROUP}/{_VERSION}/namespaces/{namespace}/{_PLURALS[kind]}"
