"""The two kinds of cluster that the stand-in for Argo works on: a folder of manifests, and a Kubernetes API.

They gather and write objects and decide nothing.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import random
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

import yaml
from kubernetes.aio import client, config, watch

from peaktime.sandbox.argo_rules import API_VERSION, Object, View, merged, name, namespace, stamp, uid
from peaktime.sandbox.clock import Clock, RealClock

_LOG: Final = logging.getLogger(__name__)
_KINDS: Final = {"cronworkflow": "CronWorkflow", "workflow": "Workflow", "workflowtemplate": "WorkflowTemplate"}
_PLURALS: Final = {kind: f"{lower}s" for lower, kind in _KINDS.items()}
_GROUP, _VERSION = API_VERSION.split("/")
_CONFLICT: Final = 409
_NOT_FOUND: Final = 404


class AlreadyExistsError(Exception):
    """The object to be created is there already."""


class RefusedError(Exception):
    """The cluster does not accept the object, and says why."""


class Cluster(Protocol):
    """What the stand-in needs of a cluster; used as an async context manager."""

    async def view(self) -> View:
        """All objects, as they are known now."""

    async def create(self, workflow: Object) -> Object:
        """Create a Workflow; AlreadyExistsError or RefusedError if that cannot be."""

    async def patch(self, kind: str, space: str, called: str, body: Object) -> Object | None:
        """Merge-patch an object; None if it is gone."""

    async def changed(self, seconds: float) -> None:
        """Wait until something may have changed, at most so long."""

    async def __aenter__(self) -> Self:
        """Begin to look."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Look no more."""


# -- a folder --


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as Kubernetes reads it: a time is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


class _Dumper(yaml.SafeDumper):
    """YAML in which everything is written out."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  (the signature is given)
        return True


class DirectoryCluster:
    """A folder with one YAML file per object, named ``<kind>.<namespace>.<name>.yaml`` in lower case.

    Files whose name begins with a dot are not objects: new content is written to one, then linked (create) or moved
    (update) into place. Writers hold ``flock`` on ``.lock`` in the folder while they compare and write, and so should
    whoever deletes: otherwise an update may bring a file back. Nothing cascades.

    Args:
        folder: the folder; it is made if need be.
        space: look at this namespace only.
        clock: for creation times.
    """

    _POLL: Final = 0.03

    def __init__(self, folder: Path, *, space: str | None = None, clock: Clock | None = None) -> None:
        self._folder = folder
        self._space = space
        self._clock = clock or RealClock()
        self._parsed: dict[str, tuple[tuple[int, int, int], Object | None]] = {}
        self._viewed: dict[str, tuple[int, int, int]] = {}

    async def __aenter__(self) -> Self:
        """Make sure that the folder is there."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is held."""

    async def view(self) -> View:
        """All objects in the folder; what cannot be read is told once and left out."""
        self._viewed = self._scan()
        found: dict[str, list[Object]] = {kind: [] for kind in _KINDS.values()}
        for file in sorted(self._viewed):
            if thing := self._read(file, self._viewed[file]):
                found[_KINDS[file.split(".", 1)[0]]].append(thing)
        for file in self._parsed.keys() - self._viewed.keys():
            del self._parsed[file]
        return View(found["CronWorkflow"], found["Workflow"], found["WorkflowTemplate"])

    async def create(self, workflow: Object) -> Object:
        """Create the file of a Workflow."""
        thing = merged(
            workflow,
            {
                "metadata": {
                    "uid": str(uuid.uuid4()),
                    "resourceVersion": str(time.time_ns()),
                    "creationTimestamp": stamp(self._clock.now()),
                },
            },
        )
        file = self._file("Workflow", namespace(workflow), name(workflow))
        with self._locked(), self._written(thing) as temporary:
            try:
                os.link(temporary, file)
            except FileExistsError as error:
                raise AlreadyExistsError(f"workflows.argoproj.io {name(workflow)!r} already exists") from error
            except OSError as error:
                raise RefusedError(f"{file.name}: {error.strerror}") from error
        return thing

    async def patch(self, kind: str, space: str, called: str, body: Object) -> Object | None:
        """Replace the file of an object by what it says after the patch."""
        file = self._file(kind, space, called)
        with self._locked():
            try:
                with file.open(encoding="utf-8") as opened:
                    before = os.fstat(opened.fileno()).st_ino
                    thing = _object(yaml.load(opened, Loader=_Loader), file.name)  # noqa: S506  (a safe loader)
            except FileNotFoundError:
                return None
            except (yaml.YAMLError, ValueError) as error:
                raise RefusedError(f"{file.name}: {error}") from error
            version = str(thing["metadata"].get("resourceVersion", "0"))
            newer = max(time.time_ns(), int(version) + 1 if version.isdigit() else 0)
            thing = merged(merged(thing, body), {"metadata": {"resourceVersion": str(newer)}})
            with self._written(thing) as temporary:
                try:
                    if file.stat().st_ino != before:
                        raise RefusedError(f"{file.name}: the object has been modified")
                except FileNotFoundError:
                    return None
                temporary.replace(file)
        return thing

    async def changed(self, seconds: float) -> None:
        """Wait until the folder is not as it was at the last view."""
        deadline = time.monotonic() + seconds
        while self._scan() == self._viewed and (left := deadline - time.monotonic()) > 0:  # noqa: ASYNC110  (a file system has no event)
            await asyncio.sleep(min(self._POLL, left))

    def _scan(self) -> dict[str, tuple[int, int, int]]:
        found = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                kind, _, rest = entry.name.partition(".")
                space, _, last = rest.partition(".")
                if kind not in _KINDS or not last.endswith(".yaml") or (self._space and space != self._space):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    found[entry.name] = (status.st_mtime_ns, status.st_ino, status.st_size)
        return found

    def _read(self, file: str, seen: tuple[int, int, int]) -> Object | None:
        known = self._parsed.get(file)
        if known and known[0] == seen:
            return known[1]
        thing: Object | None = None
        try:
            text = (self._folder / file).read_text(encoding="utf-8")
            thing = _object(yaml.load(text, Loader=_Loader), file)  # noqa: S506  (a safe loader)
        except FileNotFoundError:
            return None
        except (yaml.YAMLError, ValueError) as error:
            _LOG.warning("the stand-in for Argo cannot read %s: %s", file, error)
        self._parsed[file] = (seen, thing)
        return thing

    def _file(self, kind: str, space: str, called: str) -> Path:
        return self._folder / f"{kind.lower()}.{space}.{called}.yaml"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / ".lock").open("a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _written(self, thing: Object) -> Iterator[Path]:
        handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".stand-in-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                yaml.dump(thing, file, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
            Path(temporary).chmod(0o644)
            yield Path(temporary)
        finally:
            Path(temporary).unlink(missing_ok=True)


def _object(content: object, file: str) -> Object:
    """What a file holds, as an object with a name and a namespace: those in the file's name."""
    if not isinstance(content, dict):
        raise ValueError("it is not an object")  # noqa: TRY004  (it is the value that is wrong)
    _, space, called = file.removesuffix(".yaml").split(".", 2)
    return merged(content, {"metadata": {"name": called, "namespace": space}})


# -- Kubernetes --


class KubernetesCluster:
    """A Kubernetes API: listed, then watched, so that a view costs nothing.

    Args:
        kubeconfig: the file with the connection; without one, that of the pod this runs in.
        space: look at this namespace only.
        api: a client that is there already, instead of a kubeconfig; it is not closed.
    """

    _PATIENCE: Final = 30.0
    _WATCH_SECONDS: Final = 300
    _TOMBSTONES: Final = 10_000

    def __init__(
        self,
        kubeconfig: Path | None = None,
        *,
        space: str | None = None,
        api: client.ApiClient | None = None,
    ) -> None:
        self._kubeconfig = kubeconfig
        self._space = space
        self._given = api
        self._client: client.ApiClient | None = None
        self._objects: dict[str, dict[tuple[str, str], Object]] = {kind: {} for kind in _PLURALS}
        self._deleted: dict[str, None] = {}
        self._news = asyncio.Event()
        self._watches: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Connect, list and begin to watch."""
        self._client = self._given or await self._connect()
        try:
            versions = {kind: await self._list(kind) for kind in _PLURALS}
        except BaseException:
            await self._disconnect()
            raise
        self._watches = [asyncio.create_task(self._follow(kind, version)) for kind, version in versions.items()]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop watching and disconnect."""
        for task in self._watches:
            task.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        await self._disconnect()

    async def view(self) -> View:
        """All objects, as the watches know them."""
        self._news.clear()
        crons, workflows, templates = (
            [found[key] for key in sorted(found)]
            for found in (self._objects[kind] for kind in ("CronWorkflow", "Workflow", "WorkflowTemplate"))
        )
        return View(crons, workflows, templates)

    async def create(self, workflow: Object) -> Object:
        """Create a Workflow by POST."""
        try:
            thing: Object = await self._custom().create_namespaced_custom_object(
                _GROUP,
                _VERSION,
                namespace(workflow),
                _PLURALS["Workflow"],
                workflow,
                _request_timeout=self._PATIENCE,
            )
        except client.exceptions.ApiException as error:
            if error.status == _CONFLICT:
                raise AlreadyExistsError(str(error.reason)) from error
            raise RefusedError(f"{error.status} {error.reason}: {error.body}") from error
        self._keep("Workflow", thing)
        return thing

    async def patch(self, kind: str, space: str, called: str, body: Object) -> Object | None:
        """Merge-patch an object."""
        try:
            thing: Object = await self._custom().patch_namespaced_custom_object(
                _GROUP,
                _VERSION,
                space,
                _PLURALS[kind],
                called,
                body,
                _content_type="application/merge-patch+json",
                _request_timeout=self._PATIENCE,
            )
        except client.exceptions.ApiException as error:
            if error.status == _NOT_FOUND:
                self._objects[kind].pop((space, called), None)
                return None
            raise RefusedError(f"{error.status} {error.reason}: {error.body}") from error
        self._keep(kind, thing)
        return thing

    async def changed(self, seconds: float) -> None:
        """Wait for a watch to tell something new."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)

    async def _connect(self) -> client.ApiClient:
        connection = client.Configuration()
        if self._kubeconfig is None:
            config.load_incluster_config(client_configuration=connection)
        else:
            await config.load_kube_config(
                config_file=str(self._kubeconfig),
                client_configuration=connection,
                persist_config=False,
            )
        return client.ApiClient(connection)

    async def _disconnect(self) -> None:
        if self._client is not None and self._given is None:
            await self._client.close()
        self._client = None

    def _custom(self) -> client.CustomObjectsApi:
        return client.CustomObjectsApi(self._client)

    def _lister(self) -> tuple[Any, tuple[str, ...]]:
        if self._space:
            return self._custom().list_namespaced_custom_object, (_GROUP, _VERSION, self._space)
        return self._custom().list_cluster_custom_object, (_GROUP, _VERSION)

    async def _list(self, kind: str) -> str:
        """Read all objects of a kind anew; the version from which to watch."""
        lister, where = self._lister()
        found: Object = await lister(*where, _PLURALS[kind], _request_timeout=self._PATIENCE)
        version = str(found["metadata"]["resourceVersion"])
        # What was written meanwhile is not in the list, but will be in the watch.
        newer = {key: thing for key, thing in self._objects[kind].items() if _version(thing) > int(version)}
        self._objects[kind] = {(namespace(thing), name(thing)): thing for thing in found["items"]} | newer
        self._news.set()
        return version

    async def _follow(self, kind: str, version: str) -> None:
        """Watch a kind for ever; whenever a watch breaks, list again after a jittered wait."""
        attempt = 0
        while True:
            try:
                if attempt:
                    version = await self._list(kind)
                attempt = 0
                while True:
                    version = await self._watch(kind, version)
            except Exception as error:  # noqa: BLE001  (the last line of defence: whatever it is, it is told)
                attempt += 1
                if not (isinstance(error, client.exceptions.ApiException) and error.status == 410):  # noqa: PLR2004  (its meaning stands beside it)
                    _LOG.warning("the stand-in for Argo lists %s again: %s", _PLURALS[kind], error)
                await asyncio.sleep(random.uniform(0.5, 1.0) * min(0.1 * 2**attempt, 10.0))

    async def _watch(self, kind: str, version: str) -> str:
        """Watch until the server ends it; the version to go on from."""
        lister, where = self._lister()
        async with watch.Watch(return_type="object") as watcher:
            stream = watcher.stream(
                lister,
                *where,
                _PLURALS[kind],
                resource_version=version,
                allow_watch_bookmarks=True,
                timeout_seconds=self._WATCH_SECONDS,
                _request_timeout=self._WATCH_SECONDS + self._PATIENCE,
            )
            try:
                async for event in stream:
                    thing: Object = event["raw_object"]
                    version = str(thing["metadata"]["resourceVersion"])
                    if event["type"] == "DELETED":
                        self._forget(kind, thing)
                    elif event["type"] != "BOOKMARK":
                        self._keep(kind, thing)
            finally:
                # An orderly end of TLS would outlive the event loop: nobody awaits it.
                if watcher.resp is not None and (connection := watcher.resp.connection) and connection.transport:
                    connection.transport.abort()
        return version

    def _forget(self, kind: str, thing: Object) -> None:
        """Forget a deleted object, but not one of the same name that came after it."""
        key = (namespace(thing), name(thing))
        self._deleted[uid(thing)] = None
        if len(self._deleted) > self._TOMBSTONES:
            del self._deleted[next(iter(self._deleted))]
        if (known := self._objects[kind].get(key)) and uid(known) == uid(thing):
            del self._objects[kind][key]
            self._news.set()

    def _keep(self, kind: str, thing: Object) -> None:
        """Remember an object, unless a newer version of it is known, or its deletion."""
        key = (namespace(thing), name(thing))
        known = self._objects[kind].get(key)
        if uid(thing) not in self._deleted and (known is None or _version(known) <= _version(thing)):
            self._objects[kind][key] = thing
            self._news.set()


def _version(thing: Object) -> int:
    return int(thing["metadata"]["resourceVersion"])
