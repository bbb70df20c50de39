"""The port to a cluster: what the reconcile loop asks of it, and what its adapters have in common.

An adapter keeps a view of the objects up to date by itself and does single writes. It decides nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from peaktime.core.desired import TARGET, Manifest
from peaktime.core.plan import Delete, Observed, ours
from peaktime.errors import ClusterError

_REMEMBERED = 10_000


class ConflictError(ClusterError):
    """The object is not as it was thought to be (409), is gone (404), or exists: look again."""


class Cluster(Protocol):
    """A cluster that holds CronWorkflows and Workflows."""

    async def start(self, changed: Callable[[str], None]) -> None:
        """Begin to keep the view; ``changed`` is called with the target of whatever changes."""

    async def stop(self) -> None:
        """End all connections."""

    @property
    def synced(self) -> bool:
        """Whether the view has been complete, and is being kept up to date."""

    def observed(self, target: str, names: Iterable[str]) -> Observed:
        """What the view holds for a target, with foreign objects under these names."""

    def targets(self) -> set[str]:
        """The targets that objects of ours name."""

    async def create(self, manifest: Manifest) -> None:
        """Create an object by POST. Raises ConflictError if the name is taken, ClusterError otherwise."""

    async def apply(self, manifest: Manifest) -> None:
        """Server-side apply to an object of ours that was seen at its resourceVersion. Raises as ``create`` does."""

    async def delete(self, write: Delete) -> None:
        """Delete a CronWorkflow, Workflows left behind, if it is still the one that was seen. Raises as above."""


class View:
    """The objects that a cluster holds, indexed as the loop asks for them."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, str, str], Manifest] = {}
        self._crons: dict[str, dict[str, Manifest]] = {}
        self._workflows: dict[str, dict[str, Manifest]] = {}
        self._foreign: dict[str, Manifest] = {}
        self._gone: OrderedDict[tuple[str, str, str], int] = OrderedDict()

    def put(self, obj: Manifest) -> str | None:
        """Take an object as it is now; its target if that matters to us, else None. An older one changes nothing."""
        key = identity(obj)
        before = self._all.get(key)
        known = version(before) if before is not None else self._gone.get(key, -1)
        if known >= version(obj):
            return None
        if before is not None:
            self.drop(key)
        self._all[key] = obj
        kind, _, name = key
        if not ours(obj):
            if kind == "CronWorkflow":
                self._foreign[name] = obj
                return target_in(name, obj)
            return None
        target = target_of(obj)
        index = self._crons if kind == "CronWorkflow" else self._workflows
        index.setdefault(target, {})[name] = obj
        return target

    def drop(self, key: tuple[str, str, str], at: int | None = None) -> str | None:
        """Forget an object; its target if that matters to us.

        Args:
            key: the object's identity.
            at: the version at which it was deleted, if that is known: news from before it come too late.
        """
        if at is not None:
            self._gone[key] = at
            self._gone.move_to_end(key)
            if len(self._gone) > _REMEMBERED:
                self._gone.popitem(last=False)
            before = self._all.get(key)
            if before is not None and version(before) > at:
                return None
        obj = self._all.pop(key, None)
        if obj is None:
            return None
        kind, _, name = key
        if not ours(obj):
            self._foreign.pop(name, None)
            return target_in(name, obj)
        target = target_of(obj)
        index = self._crons if kind == "CronWorkflow" else self._workflows
        index.get(target, {}).pop(name, None)
        return target

    def keys(self, kind: str) -> set[tuple[str, str, str]]:
        """The identities of all objects of a kind."""
        return {key for key in self._all if key[0] == kind}

    def get(self, key: tuple[str, str, str]) -> Manifest | None:
        """One object."""
        return self._all.get(key)

    def observed(self, target: str, names: Iterable[str]) -> Observed:
        """What there is for a target, with foreign objects under these names."""
        crons = dict(self._crons.get(target, {}))
        for name in names:
            if name not in crons and name in self._foreign:
                crons[name] = self._foreign[name]
        return Observed(cron_workflows=crons, workflows=dict(self._workflows.get(target, {})))

    def targets(self) -> set[str]:
        """The targets that objects of ours name."""
        return {target for index in (self._crons, self._workflows) for target, objects in index.items() if objects}


def identity(obj: Manifest) -> tuple[str, str, str]:
    """Kind, namespace and name."""
    metadata = obj["metadata"]
    return obj["kind"], metadata.get("namespace", ""), metadata["name"]


def version(obj: Manifest) -> int:
    """The resourceVersion as a number: since Kubernetes 1.35 they are comparable, and etcd's always were."""
    text: Any = obj["metadata"].get("resourceVersion", "0")
    return int(text) if str(text).isdecimal() else 0


def target_of(obj: Manifest) -> str:
    """The target that an object of ours names."""
    return str((obj["metadata"].get("labels") or {}).get(TARGET, ""))


def target_in(name: str, obj: Manifest) -> str | None:
    """The target that a foreign object may stand in the way of, as far as its name tells."""
    if not name.startswith("peaktime-"):
        return None
    parts = name.split("-")
    return target_of(obj) or (parts[2] if len(parts) > 2 else None)  # noqa: PLR2004  (its meaning stands beside it)
