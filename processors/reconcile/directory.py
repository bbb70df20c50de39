"""A folder of manifests as a cluster: one YAML file an object. For the sandbox and tests.

The file is ``<kind in lower case>.<namespace>.<name>.yaml``. Writes are whole or not at all, and creating what exists
fails, as with an API server. There is no garbage collector, no defaulting and no admission.
"""

from __future__ import annotations

import asyncio
import copy
import fcntl
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import structlog
import yaml

from peaktime.core.actions import Template
from peaktime.core.desired import Manifest
from peaktime.core.plan import Delete, Observed
from peaktime.errors import ClusterError
from processors.reconcile.cluster import ConflictError, View, identity, version

log = structlog.get_logger(__name__)

_POLL = 0.05
_KINDS = {"cronworkflow": "CronWorkflow", "workflow": "Workflow"}


class Directory:
    """A cluster in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._view = View()
        self._stamps: dict[str, tuple[int, int]] = {}
        self._names: dict[str, tuple[str, str, str]] = {}
        self._changed: Callable[[str], None] = lambda _: None
        self._task: asyncio.Task[None] | None = None

    async def start(self, changed: Callable[[str], None]) -> None:
        """Begin to look at the folder, twenty times a second."""
        self._changed = changed
        self._folder.mkdir(parents=True, exist_ok=True)
        self._scan()
        self._task = asyncio.create_task(self._watch(), name="directory-watch")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    @property
    def synced(self) -> bool:
        """Whether the folder is being looked at."""
        return self._task is not None and not self._task.done()

    def knows(self, namespaces: Iterable[str]) -> bool:  # noqa: ARG002  (the port's signature)
        """Whether the folder is being looked at: it holds all namespaces."""
        return self.synced

    @property
    def trouble(self) -> str:
        """Nothing: what cannot be read is logged, and the rest is there."""
        return ""

    def observed(self, target: str, names: Iterable[str]) -> Observed:
        """What the folder holds for a target, with foreign objects under these names."""
        return self._view.observed(target, names)

    @property
    def view(self) -> View:
        """The view itself, for who looks at parts of a target."""
        return self._view

    def targets(self) -> set[str]:
        """The targets that objects of ours name."""
        return self._view.targets()

    async def create(self, manifest: Manifest) -> None:
        """Create an object's file. Raises ConflictError if it exists."""
        obj = copy.deepcopy(manifest)
        obj["metadata"] |= {
            "uid": str(uuid.uuid4()),
            "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        path = self._path(obj)
        with self._locked():
            if path.exists():
                raise ConflictError(path.name, "exists already", "Look again")
            self._written(obj).replace(path)
        self._scan()

    async def apply(self, manifest: Manifest) -> None:
        """Lay our fields over the object's. Raises ConflictError if it is not the version that was seen."""
        path = self._path(manifest)
        with self._locked():
            obj = self._read(path)
            if obj is None or version(obj) != version(manifest):
                raise ConflictError(path.name, "has changed meanwhile", "Look again")
            _lay(obj, manifest)
            self._written(obj).replace(path)
        self._scan()

    async def delete(self, write: Delete) -> None:
        """Remove the object's file. Raises ConflictError if it is not the one that was seen."""
        path = self._folder / f"cronworkflow.{write.namespace}.{write.name}.yaml"
        with self._locked():
            obj = self._read(path)
            if obj is None or obj["metadata"].get("uid") != write.uid:
                raise ConflictError(path.name, "is gone, or another", "Look again")
            path.unlink()
        self._scan()

    async def template(self, namespace: str, name: str) -> Template | None:  # noqa: ARG002  (the port's signature)
        """Nothing is known: the folder keeps no WorkflowTemplates."""
        return None

    async def trial(self, manifest: Manifest) -> str | None:  # noqa: ARG002  (the port's signature)
        """Nothing: a folder takes everything."""
        return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among all who write to the folder: the stand-in for Argo takes the same lock."""
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _path(self, obj: Manifest) -> Path:
        kind, namespace, name = identity(obj)
        return self._folder / f"{kind.lower()}.{namespace}.{name}.yaml"

    def _written(self, obj: Manifest) -> Path:
        obj["metadata"]["resourceVersion"] = str(max(version(obj) + 1, int(datetime.now(UTC).timestamp() * 1e6)))
        temporary = self._folder / f".{uuid.uuid4()}.tmp"
        temporary.write_text(yaml.safe_dump(obj, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return temporary

    def _read(self, path: Path) -> Manifest | None:
        try:
            obj = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  (a safe loader)
        except FileNotFoundError:
            return None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ClusterError(str(path), f"is no YAML: {error}", "Mend or remove the file") from None
        metadata = obj.get("metadata") if isinstance(obj, dict) else None
        if not isinstance(metadata, dict) or not (isinstance(obj.get("kind"), str) and metadata.get("name")):
            raise ClusterError(str(path), "is no object: it has no kind or no name", "Mend or remove the file")
        return cast("Manifest", obj)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_POLL)
            self._scan()

    def _scan(self) -> None:
        """Compare the folder with the view."""
        found: dict[str, tuple[int, int]] = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(".yaml") and entry.name.partition(".")[0] in _KINDS:
                    try:
                        stat = entry.stat()
                    except FileNotFoundError:
                        continue
                    found[entry.name] = (stat.st_mtime_ns, stat.st_ino)
        touched: set[str | None] = set()
        for name in self._stamps.keys() - found.keys():
            del self._stamps[name]
            if name in self._names:
                touched.add(self._view.drop(self._names.pop(name)))
        for name, stamp in found.items():
            if self._stamps.get(name) == stamp:
                continue
            try:
                obj = self._read(self._folder / name)
            except ClusterError as error:
                # It stays as it was seen last; what is broken is told once, and hides no other.
                self._stamps[name] = stamp
                log.warning("an object cannot be read", error=str(error))
                continue
            if obj is None:
                continue
            self._stamps[name] = stamp
            before = self._names.get(name)
            if before is not None:
                self._view.drop(before)
            self._names[name] = identity(obj)
            touched.add(self._view.put(obj))
        for target in touched:
            if target:
                self._changed(target)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as Kubernetes reads it: a time is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def _lay(found: Manifest, wanted: Manifest) -> None:
    for key, value in wanted.items():
        if isinstance(value, dict) and isinstance(found.get(key), dict):
            _lay(found[key], value)
        else:
            found[key] = value
