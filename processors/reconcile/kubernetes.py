"""The Kubernetes API as a cluster: listed once, then watched, so that an idle worker asks for no list.

Creates are POSTs; updates are server-side apply at the version that was seen; deletes name uid and resourceVersion and
leave Workflows behind. It decides nothing, and it tries no write again: the loop looks again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from peaktime.core.actions import Template
from peaktime.core.desired import MANAGED_BY, OURS, Manifest
from peaktime.core.plan import Delete, Observed
from peaktime.errors import ClusterError
from peaktime.metrics import Metrics
from processors.reconcile.api import Api
from processors.reconcile.cluster import BusyError, ConflictError, RefusedError, View, version
from processors.reconcile.fields import taken_over
from processors.reconcile.manners import FIRST_BACKOFF, LONGEST_ASKED, LONGEST_BACKOFF, Key

log = structlog.get_logger(__name__)

_GROUP, _VERSION = "argoproj.io", "v1alpha1"
_PLURALS = {"CronWorkflow": "cronworkflows", "Workflow": "workflows"}
_MANAGER = OURS
#: A watch is asked for this long (s) and then goes on where it was. HTTP/1.1 has no ping and bookmarks come once a
#: minute, so this is what tells a watch that died in silence from a quiet one, and within 30 s.
_WATCH_SECONDS = (15, 20)
#: A watch that lived this long (s) was a good one: what ended it is no failure to back off from.
_LIVED = 0.5
#: One that failed so often in a row may be stuck at what it cannot read: then it is listed anew.
_STUCK = 10
_PAGE = 500


@dataclass(slots=True)
class _Watch:
    """Where the watch of a kind in a namespace stands.

    Attributes:
        at: the version to go on from; empty if it must be listed.
        failures: in a row.
        begun: when the server began to answer (monotonic); None if it did not.
    """

    kind: str
    namespace: str
    at: str = ""
    failures: int = 0
    begun: float | None = None

    def lived(self) -> bool:
        """Whether it was a good one until now."""
        return self.begun is not None and time.monotonic() - self.begun >= _LIVED


class Kubernetes:
    """A cluster behind a Kubernetes API."""

    def __init__(self, *, namespaces: Iterable[str], kubeconfig: Path | None, metrics: Metrics) -> None:
        """Prepare; nothing is opened yet.

        Args:
            namespaces: where our objects are.
            kubeconfig: file with the connection; None for the pod's own, else the default file.
            metrics: where to count.
        """
        self._namespaces = sorted(set(namespaces))
        self._api = Api(kubeconfig)
        self._metrics = metrics
        self._view = View()
        self._listed: set[tuple[str, str]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._changed: Callable[[str], None] = lambda _: None
        self._trouble = ""

    async def start(self, changed: Callable[[str], None]) -> None:
        """Connect, and begin to list and watch."""
        self._changed = changed
        await self._api.open()
        self._tasks = [
            asyncio.create_task(self._follow(_Watch(kind, namespace)), name=f"watch-{kind}-{namespace}")
            for kind in _PLURALS
            for namespace in self._namespaces
        ]

    async def stop(self) -> None:
        """End the watches and the connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._api.close()

    @property
    def synced(self) -> bool:
        """Whether every kind and namespace has been listed."""
        return len(self._listed) == len(_PLURALS) * len(self._namespaces)

    def knows(self, namespaces: Iterable[str]) -> bool:
        """Whether every kind has been listed in these namespaces."""
        return all((kind, namespace) in self._listed for kind in _PLURALS for namespace in namespaces)

    @property
    def trouble(self) -> str:
        """What last went wrong with a list or a watch; empty if nothing has."""
        return self._trouble

    def observed(self, target: str, names: Iterable[str]) -> Observed:
        """What the view holds for a target, with foreign objects under these names."""
        return self._view.observed(target, names)

    @property
    def view(self) -> View:
        """The view itself, for who looks at parts of a target."""
        return self._view

    def targets(self) -> set[str]:
        """The targets that objects of ours name."""
        return self._view.targets()

    async def create(self, manifest: Manifest) -> None:
        """Create an object by POST."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        path = _path(kind, metadata["namespace"])
        try:
            obj = await self._api.call("POST", path, manifest, query=[("fieldManager", _MANAGER)])
        except ConflictError as error:
            raise await self._looked((kind, metadata["namespace"], metadata["name"]), None, error) from error
        self._seen(obj)

    async def apply(self, manifest: Manifest) -> None:
        """Server-side apply at the version that was seen; what others hold of our fields is taken back."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        path = f"{_path(kind, metadata['namespace'])}/{metadata['name']}"
        key = (kind, metadata["namespace"], metadata["name"])
        query = [("fieldManager", _MANAGER), ("force", "true")]
        try:
            manifest = await self._taken_over(path, manifest, self._view.get(key))
            obj = await self._api.call("PATCH", path, manifest, query=query, content="application/apply-patch+yaml")
        except ConflictError as error:
            raise await self._looked(key, metadata["resourceVersion"], error) from error
        self._seen(obj)

    async def _taken_over(self, path: str, manifest: Manifest, seen: Manifest | None) -> Manifest:
        """The manifest to apply, once what our POST set and is not wanted any more can be taken away by that."""
        held = taken_over(seen, manifest, _MANAGER) if seen is not None else None
        if held is None:
            return manifest
        patch = [
            {"op": "replace", "path": "/metadata/managedFields", "value": held},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": manifest["metadata"]["resourceVersion"]},
        ]
        obj = await self._api.call("PATCH", path, patch, content="application/json-patch+json")
        at = obj["metadata"]["resourceVersion"]
        return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": at}}

    async def delete(self, write: Delete) -> None:
        """Delete a CronWorkflow if it is the one that was seen; its Workflows stay."""
        body = {
            "propagationPolicy": "Orphan",
            "preconditions": {"uid": write.uid, "resourceVersion": write.resource_version},
        }
        kind = "CronWorkflow"
        try:
            obj = await self._api.call("DELETE", f"{_path(kind, write.namespace)}/{write.name}", body)
        except ConflictError as error:
            key = (kind, write.namespace, write.name)
            raise await self._looked(key, write.resource_version, error) from error
        # Until the garbage collector is done with it: it is terminating, and not to be deleted again.
        if obj.get("kind") == kind:
            self._seen(obj)

    async def template(self, namespace: str, name: str) -> Template | None:
        """What a WorkflowTemplate holds; nothing if it is not there, or may not be read."""
        path = f"/apis/{_GROUP}/{_VERSION}/namespaces/{namespace}/workflowtemplates/{name}"
        try:
            found = await self._api.call("GET", path)
        except ConflictError:
            return Template()
        except RefusedError as error:
            return Template(trouble=error.reason)
        held = (found.get("spec") or {}).get("templates") or []
        return Template(names=frozenset(template.get("name", "") for template in held))

    async def trial(self, manifest: Manifest) -> str | None:
        """Whether the API server and its webhooks would take a new object, by a dry run."""
        path = _path(manifest["kind"], manifest["metadata"]["namespace"])
        try:
            await self._api.call("POST", path, manifest, query=[("fieldManager", _MANAGER), ("dryRun", "All")])
        except RefusedError as error:
            # A webhook that cannot be asked without consequences says nothing about the object.
            return None if "does not support dry run" in error.reason else error.reason
        return None

    async def _looked(self, key: Key, expected: str | None, error: ConflictError) -> ClusterError:
        """What a conflict means, after a look at the object: the news may be on its way, or lost with an answer.

        Args:
            key: the object.
            expected: the version that was thought to be there; None if nothing was.
            error: the conflict.
        """
        kind, namespace, name = key
        before = self._view.get(key)
        try:
            found: Manifest | None = await self._api.call("GET", f"{_path(kind, namespace)}/{name}")
        except ConflictError:
            found = None
        except ClusterError:
            return error
        if found is not None:
            self._seen(found)
        elif before is not None and self._view.get(key) is before:
            self._told(self._view.drop(key))
        if (found["metadata"]["resourceVersion"] if found is not None else None) == expected:
            return BusyError(name, f"{error.reason}, although it is as it was thought to be", "It is tried again")
        return error

    def _seen(self, obj: Manifest) -> None:
        self._told(self._view.put(obj))

    def _told(self, target: str | None) -> None:
        if target:
            self._changed(target)

    async def _follow(self, watch: _Watch) -> None:
        """Keep the view of a kind up to date for ever: list once, watch, and list again only if it must be."""
        while True:
            watch.begun, after = None, 0.0
            try:
                if not watch.at:
                    await self._list(watch)
                await self._watch(watch)
                reason = ""
            except BusyError as error:
                reason, after = str(error), min(error.after or 0.0, LONGEST_ASKED)
            except ClusterError as error:
                # Gone, or nothing that going on could mend.
                watch.at, reason = "", str(error)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                watch.at, reason = "", f"the answer is none that an API server gives: {error!r}"
            good = watch.lived()
            watch.failures = 0 if good else watch.failures + 1
            if watch.failures >= _STUCK:
                watch.at = ""
            pause = random.uniform(0.0, FIRST_BACKOFF) if reason else 0.0
            if not good:
                pause = random.uniform(0.5, 1.0) * min(FIRST_BACKOFF * 2 ** min(watch.failures, 10), LONGEST_BACKOFF)
            pause = max(pause, after * random.uniform(1.0, 1.1))
            if reason:
                self._trouble = reason
                self._metrics.watch_restarts.labels(kind=watch.kind).inc()
                # What was never listed stops every target that has objects there.
                tell = log.info if (watch.kind, watch.namespace) in self._listed else log.warning
                tell(
                    "watch begins anew",
                    kind=watch.kind,
                    namespace=watch.namespace,
                    reason=reason,
                    by="watch" if watch.at else "list",
                    again_in=round(pause, 2),
                )
            await asyncio.sleep(pause)

    def _query(self, kind: str) -> list[tuple[str, str]]:
        # Of CronWorkflows also those that are not ours: one may hold a name that we need.
        return [("labelSelector", f"{MANAGED_BY}={OURS}")] if kind == "Workflow" else []

    async def _list(self, watch: _Watch) -> None:
        kind, namespace = watch.kind, watch.namespace
        found: set[Key] = set()
        token, at = "", "0"
        touched: set[str | None] = set()
        newest = self._view.newest(kind, namespace)
        while True:
            query = [*self._query(kind), ("limit", str(_PAGE)), *([("continue", token)] if token else [])]
            page = await self._api.call("GET", _path(kind, namespace), query=query)
            at = page["metadata"]["resourceVersion"]
            if not found and int(at) < newest:
                # A list shows all that was ever seen, so these are other versions: of a restored or a new cluster.
                log.warning("the API server's versions begin anew", kind=kind, namespace=namespace, at=at, seen=newest)
                touched |= self._view.forget(kind, namespace)
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
        watch.at = str(at)
        for target in touched:
            self._told(target)

    async def _watch(self, watch: _Watch) -> None:
        """Watch until the server ends it, keeping note of where to go on."""
        query = [*self._query(watch.kind), ("resourceVersion", watch.at)]
        path = _path(watch.kind, watch.namespace)
        async with self._api.watch(path, query, random.randint(*_WATCH_SECONDS)) as events:
            watch.begun = time.monotonic()
            async for event in events:
                self._event(event)
                watch.at = str(event["object"]["metadata"]["resourceVersion"])

    def _event(self, event: dict[str, Any]) -> None:
        obj = event["object"]
        if event["type"] == "BOOKMARK":
            return
        if event["type"] == "DELETED":
            metadata = obj["metadata"]
            key = (obj["kind"], metadata.get("namespace", ""), metadata["name"])
            self._told(self._view.drop(key, version(obj)))
        else:
            self._told(self._view.put(obj))


def _path(kind: str, namespace: str) -> str:
    return f"/apis/{_GROUP}/{_VERSION}/namespaces/{namespace}/{_PLURALS[kind]}"
