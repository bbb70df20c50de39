"""The port to a cluster: what the reconcile loop asks of it, and what its adapters have in common.

An adapter keeps a view of the objects up to date by itself and does single writes. It decides nothing.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from peaktime.core.actions import Template
from peaktime.core.desired import CRON_WORKFLOW, TARGET, Manifest
from peaktime.core.evidence import complaint, entry_of, fired, hands_off
from peaktime.core.plan import Delete, Observed, ours
from peaktime.errors import ClusterError

_REMEMBERED = 10_000
#: So many different lists of fields are kept at a time for objects to share.
_FIELDS = 1000


class ConflictError(ClusterError):
    """The object is not as it was thought to be (409), is gone (404), or exists: look again."""


class UnconfiguredError(ClusterError):
    """No cluster is named: no kubeconfig is given, there is no default one, and this is no pod."""


class RefusedError(ClusterError):
    """The write is not taken as it is (400, 403, 422 and their like): trying it again unchanged is of little use."""


class BusyError(ClusterError):
    """The server did not answer, or could not do it now (429, 5xx); whether it was done may be unknown.

    Attributes:
        after: seconds that the server asked to wait; None if it did not.
    """

    def __init__(self, thing: str, reason: str, remedy: str = "", *, after: float | None = None) -> None:
        super().__init__(thing, reason, remedy)
        self.after = after


class Cluster(Protocol):
    """A cluster that holds CronWorkflows and Workflows."""

    async def start(self, changed: Callable[[str], None]) -> None:
        """Begin to keep the view; ``changed`` is called with the target of whatever changes."""

    async def stop(self) -> None:
        """End all connections."""

    @property
    def synced(self) -> bool:
        """Whether the view has been complete, and is being kept up to date."""

    def knows(self, namespaces: Iterable[str]) -> bool:
        """Whether the view of these namespaces has been complete, and is being kept up to date."""

    @property
    def trouble(self) -> str:
        """What last went wrong with keeping the view; empty if nothing has."""

    def observed(self, target: str, names: Iterable[str]) -> Observed:
        """What the view holds for a target, with foreign objects under these names."""

    @property
    def view(self) -> View:
        """The view itself, for who looks at parts of a target."""

    def targets(self) -> set[str]:
        """The targets that objects of ours name."""

    async def create(self, manifest: Manifest) -> None:
        """Create an object by POST. Raises ConflictError if the name is taken, else RefusedError or BusyError."""

    async def apply(self, manifest: Manifest) -> None:
        """Server-side apply to an object of ours that was seen at its resourceVersion. Raises as ``create`` does."""

    async def delete(self, write: Delete) -> None:
        """Delete a CronWorkflow, Workflows left behind, if it is still the one that was seen. Raises as above."""

    async def template(self, namespace: str, name: str) -> Template | None:
        """What a WorkflowTemplate holds; None if this cluster keeps none, so that nothing can be told.

        Raises:
            ClusterError: that cannot be known now.
        """

    async def trial(self, manifest: Manifest) -> str | None:
        """Whether the cluster would take a new object: None if so, else why not; nothing is made.

        Raises:
            ClusterError: that cannot be known now.
        """


class View:
    """The objects that a cluster holds, indexed as the loop asks for them."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, str, str], Manifest] = {}
        self._crons: dict[str, dict[str, Manifest]] = {}
        self._workflows: dict[str, dict[str, Manifest]] = {}
        self._foreign: dict[str, Manifest] = {}
        self._strangers: set[str] = set()
        self._gone: OrderedDict[tuple[str, str, str], int] = OrderedDict()
        self._names: dict[str, dict[str, tuple[str, ...]]] = {}
        self._notable: dict[str, set[str]] = {}
        self._changes: dict[str, set[str | None]] = {}
        self._fields: dict[str, Any] = {}

    def put(self, obj: Manifest) -> str | None:
        """Take an object as it is now; its target if that matters to us, else None. An older one changes nothing."""
        key = identity(obj)
        before = self._all.get(key)
        known = version(before) if before is not None else self._gone.get(key, -1)
        if known >= version(obj):
            return None
        if before is not None:
            self._take(key, before)
            if ours(before):
                self._touch(target_of(before), entry_of(before))
        _shape(obj)
        self._share(obj)
        self._all[key] = obj
        kind, _, name = key
        if not ours(obj):
            if kind == "CronWorkflow":
                self._foreign[name] = obj
                stands_in = target_in(name, obj)
                return self._touch(stands_in, None) if before is None or ours(before) else stands_in
            self._strangers.add(name)
            return None
        target = target_of(obj)
        if kind == "CronWorkflow":
            self._crons.setdefault(target, {})[name] = obj
            names = self._names.setdefault(target, {})
            names[entry_of(obj)] = (*names.get(entry_of(obj), ()), name)
            if fired(obj) or hands_off(obj) or complaint(obj):
                self._notable.setdefault(target, set()).add(name)
        else:
            self._workflows.setdefault(target, {})[name] = obj
        return self._touch(target, entry_of(obj))

    def _share(self, obj: Manifest) -> None:
        """Keep who holds which fields once for all objects that have the same: it is half of what there is of them."""
        for held in obj["metadata"].get("managedFields") or []:
            fields = held.get("fieldsV1")
            if fields:
                if len(self._fields) >= _FIELDS:
                    self._fields.clear()
                held["fieldsV1"] = self._fields.setdefault(json.dumps(fields, sort_keys=True), fields)

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
        obj = self._all.get(key)
        if obj is None:
            return None
        self._take(key, obj)
        if not ours(obj):
            return self._touch(target_in(key[2], obj), None) if key[0] == "CronWorkflow" else None
        return self._touch(target_of(obj), entry_of(obj))

    def _take(self, key: tuple[str, str, str], obj: Manifest) -> None:
        """Take an object out of every index."""
        del self._all[key]
        kind, _, name = key
        target = target_of(obj)
        if not ours(obj) and kind == "CronWorkflow":
            self._foreign.pop(name, None)
        elif not ours(obj):
            self._strangers.discard(name)
        elif kind == "CronWorkflow":
            self._crons.get(target, {}).pop(name, None)
            self._notable.get(target, set()).discard(name)
            names = self._names.get(target, {})
            left = tuple(one for one in names.pop(entry_of(obj), ()) if one != name)
            if left:
                names[entry_of(obj)] = left
        else:
            self._workflows.get(target, {}).pop(name, None)

    def _touch(self, target: str | None, entry: str | None) -> str | None:
        if target:
            self._changes.setdefault(target, set()).add(entry)
        return target

    def newest(self, kind: str, namespace: str) -> int:
        """The highest version of all that is there of a kind in a namespace; -1 for nothing."""
        found = (version(obj) for key, obj in self._all.items() if key[:2] == (kind, namespace))
        return max(found, default=-1)

    def forget(self, kind: str, namespace: str) -> set[str | None]:
        """Forget all of a kind in a namespace, and what was deleted there; the targets that it matters to."""
        for key in [key for key in self._gone if key[:2] == (kind, namespace)]:
            del self._gone[key]
        return {self.drop(key) for key in self.keys(kind) if key[1] == namespace}

    def changes(self, target: str) -> set[str | None]:
        """The entries of a target whose objects changed since this was asked last; None means any entry's."""
        return self._changes.pop(target, set())

    def entries(self, target: str) -> AbstractSet[str]:
        """The keys of the entries of a target that CronWorkflows of ours name."""
        return self._names.get(target, {}).keys()

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
        workflows = dict(self._workflows.get(target, {}))
        return Observed(cron_workflows=crons, workflows=workflows, taken=frozenset(self._strangers))

    def notable(self, target: str) -> Observed:
        """Every Workflow of a target, and its CronWorkflows that show more than a plan: they fired, or are marked."""
        crons = self._crons.get(target, {})
        marked = {name: crons[name] for name in self._notable.get(target, ())}
        return Observed(cron_workflows=marked, workflows=self._workflows.get(target, {}))

    def part(self, target: str, entries: Iterable[str], names: Iterable[str], *, present: bool) -> Observed:
        """What there is of some entries of a target, with foreign objects under these names.

        Args:
            target: the target.
            entries: keys of the entries.
            names: of CronWorkflows.
            present: whether to add the Workflows of all other entries.
        """
        keys, crons = set(entries), self._crons.get(target, {})
        mine = self._names.get(target, {})
        found = {name: crons[name] for key in keys for name in mine.get(key, ())}
        workflows = self._workflows.get(target, {})
        if not present:
            workflows = {
                name: obj
                for name, obj in workflows.items()
                if entry_of(obj) in keys or (obj["metadata"].get("labels") or {}).get(CRON_WORKFLOW) in found
            }
        for name in names:
            if name not in found and name in self._foreign:
                found[name] = self._foreign[name]
        return Observed(cron_workflows=found, workflows=dict(workflows), taken=frozenset(self._strangers))

    def targets(self) -> set[str]:
        """The targets that objects of ours name."""
        return {target for index in (self._crons, self._workflows) for target, objects in index.items() if objects}


def _shape(obj: Manifest) -> None:
    """Take out what has no shape that Argo gives it: where a CRD checks nothing, people can write anything."""
    for part in ("spec", "status"):
        if not isinstance(obj.get(part) or {}, dict):
            obj[part] = {}
    status = obj.get("status") or {}
    for part in ("conditions", "active"):
        if part in status:
            members = status[part] if isinstance(status[part], list) else []
            status[part] = [m for m in members if isinstance(m, dict) and isinstance(m.get("name", ""), str)]
    if "nodes" in status:
        nodes = status["nodes"] if isinstance(status["nodes"], dict) else {}
        status["nodes"] = {name: node for name, node in nodes.items() if isinstance(node, dict)}
    for part in ("lastScheduledTime", "startedAt", "finishedAt", "phase"):
        if not isinstance(status.get(part, ""), str):
            del status[part]


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
