"""What the cluster holds against what the folded log wants: each CronWorkflow that is missing, left over or different.

Pure. It is the worker's own question (``peaktime.core.plan``), asked of the refolded rows: what a worker would still
write is what differs. Must not: look at the cluster, or call a difference what a worker has not read yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from peaktime.core.actions import Apply, Create, Delete, Observed, Plan, Start
from peaktime.core.desired import Desired, Manifest
from peaktime.core.evidence import differences, entry_of, hands_off, ours, pause_mark, position_of, suspended


class ObjectKind(StrEnum):
    """In which way log and cluster differ."""

    MISSING = "missing in the cluster"
    DIFFERENT = "different in the cluster"
    LEFT = "still in the cluster"
    UNEXPLAINED = "only in the cluster"
    TAKEN = "its name is taken"
    NOT_STARTED = "due and not started"
    SUSPENDED = "suspended by hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectDifference:
    """An object that is not as the log makes it.

    Attributes:
        key: ``namespace/name``.
        kind: in which way.
        entry: key of the entry that it is about; empty if there is none.
        reason: why it should be as the log has it.
        wanted: the object as it should be; None if it should not be there.
        found: the object as the cluster has it; None if it is not there.
    """

    key: str
    kind: ObjectKind
    entry: str = ""
    reason: str = ""
    wanted: Manifest | None = None
    found: Manifest | None = None

    def details(self) -> list[tuple[str, str, str]]:
        """The fields of ours that differ, with both values, where both sides are there."""
        if self.wanted is None or self.found is None:
            return []
        return [(path, _shown(ours_), _shown(theirs)) for path, ours_, theirs in differences(self.wanted, self.found)]


@dataclass(slots=True)
class ClusterResult:
    """What the comparison with the cluster says.

    Attributes:
        equal: how many CronWorkflows are as they should be.
        not_yet_read: how many differences wait for the worker to read on, or for replay.
        by_hand: keys of those that are marked hands-off: nobody of ours keeps them up.
        differences: all others, by key.
    """

    equal: int = 0
    not_yet_read: int = 0
    by_hand: list[str] = field(default_factory=list)
    differences: list[ObjectDifference] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def take(self, other: ClusterResult) -> None:
        """Add what was found of another target."""
        self.equal += other.equal
        self.not_yet_read += other.not_yet_read
        self.by_hand = sorted((*self.by_hand, *other.by_hand))
        self.differences = sorted((*self.differences, *other.differences), key=lambda one: (one.key, one.kind))


def judged(plan: Plan, want: Desired, seen: Observed, *, waiting: bool) -> ClusterResult:
    """One target's cluster against its refolded rows.

    Args:
        plan: what a worker with these rows would do.
        want: what they want.
        seen: what the cluster holds.
        waiting: whether the worker has not read all of the target's log yet.
    """
    found = list(_differing(plan, want, seen))
    names = {difference.key.rpartition("/")[2] for difference in found}
    # A worker leaves it as it is, so that the plan does not tell of it.
    found += [
        _suspended(obj)
        for name, obj in sorted(seen.cron_workflows.items())
        if name in want.runs
        and name not in names
        and ours(obj)
        and suspended(obj)
        and not (pause_mark(obj) or hands_off(obj))
    ]
    names = {difference.key.rpartition("/")[2] for difference in found}
    # Written from a log that is longer than what was read here.
    newer = {name for name, obj in seen.cron_workflows.items() if ours(obj) and position_of(obj) > want.position}
    sound = [one for one in found if not waiting and one.key.rpartition("/")[2] not in newer]
    mine = {name: obj for name, obj in seen.cron_workflows.items() if ours(obj)}
    return ClusterResult(
        equal=sum(name in want.runs and name not in names and not hands_off(obj) for name, obj in mine.items()),
        not_yet_read=len(found) - len(sound),
        by_hand=[_key(obj) for obj in mine.values() if hands_off(obj)],
        differences=sound,
    )


def _differing(plan: Plan, want: Desired, seen: Observed) -> Iterator[ObjectDifference]:
    for write in plan.writes:
        if isinstance(write, Delete):
            obj = seen.cron_workflows[write.name]
            yield ObjectDifference(
                key=_key(obj), kind=ObjectKind.LEFT, entry=entry_of(obj), reason=write.reason, found=obj
            )
            continue
        name = write.manifest["metadata"]["name"]
        kind = {Create: ObjectKind.MISSING, Apply: ObjectKind.DIFFERENT, Start: ObjectKind.NOT_STARTED}[type(write)]
        yield ObjectDifference(
            key=_key(write.manifest),
            kind=kind,
            entry=entry_of(write.manifest),
            reason=write.reason,
            wanted=write.manifest,
            found=seen.cron_workflows.get(name) if kind is ObjectKind.DIFFERENT else None,
        )
    by_code = {"unexplained": ObjectKind.UNEXPLAINED, "name-taken": ObjectKind.TAKEN}
    for problem in plan.problems:
        obj_kind, found = by_code.get(problem.code), seen.cron_workflows.get(problem.about)
        if obj_kind is not None and found is not None:
            entry = want.runs[problem.about].entry.key if problem.about in want.runs else entry_of(found)
            yield ObjectDifference(key=_key(found), kind=obj_kind, entry=entry, reason=problem.message, found=found)


def _suspended(obj: Manifest) -> ObjectDifference:
    return ObjectDifference(
        key=_key(obj),
        kind=ObjectKind.SUSPENDED,
        entry=entry_of(obj),
        reason="its run will not start by itself",
        wanted={**obj, "spec": {**obj["spec"], "suspend": False}},
        found=obj,
    )


def _key(obj: Manifest) -> str:
    return f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"


def _shown(value: object) -> str:
    return "nothing" if value is None else str(value)
