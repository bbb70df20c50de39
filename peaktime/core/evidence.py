"""What observed objects show: whose they are, whether they are as they should be, and which runs they prove.

Pure: standard library and the core only. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from peaktime.core.runs import MANAGED_BY, OURS, POSITION, Manifest

_DIGITS = 10


def ours(obj: Manifest) -> bool:
    """Whether an object carries our label."""
    return bool((obj["metadata"].get("labels") or {}).get(MANAGED_BY) == OURS)


def differs(wanted: Manifest, found: Manifest) -> str | None:
    """The first thing of ours that an object does not have as it should, None if it has all.

    What others added is theirs. The position is not compared: it says who wrote, not what.
    """
    for part in ("labels", "annotations"):
        have = found["metadata"].get(part) or {}
        for name, value in wanted["metadata"][part].items():
            if name != POSITION and have.get(name) != value:
                return f"{part[:-1]} {name}"
    return next(_differences(wanted["spec"], found.get("spec"), "spec"), None)


def _differences(wanted: object, found: object, path: str) -> Iterator[str]:
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            yield path
            return
        for key, value in wanted.items():
            yield from _differences(value, found.get(key), f"{path}.{key}")
    elif isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            yield path
            return
        for index, value in enumerate(wanted):
            yield from _differences(value, found[index], f"{path}[{index}]")
    elif wanted != found:
        yield path


def position_of(obj: Manifest) -> int:
    """The target's position when the object was written, -1 if it does not say."""
    text = (obj["metadata"].get("annotations") or {}).get(POSITION, "")
    return int(text) if text.isdecimal() else -1


def terminating(obj: Manifest) -> bool:
    """Whether an object is on its way out."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def time_of(text: str | None) -> datetime | None:
    """An API timestamp as a UTC instant."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def instant_of(child: str) -> datetime | None:
    """The firing instant in a Workflow's name."""
    seconds = child.rpartition("-")[2]
    # Ten digits reach to the year 2286; more would be somebody else's number.
    return datetime.fromtimestamp(int(seconds), UTC) if seconds.isdecimal() and len(seconds) <= _DIGITS else None


def active(cron: Manifest) -> list[str]:
    """The names of the Workflows that a CronWorkflow says are going on."""
    return [ref.get("name", "") for ref in (cron.get("status") or {}).get("active") or []]


def fired(cron: Manifest) -> set[datetime]:
    """The instants at which a CronWorkflow is known to have fired; its counters tell nothing."""
    last = time_of((cron.get("status") or {}).get("lastScheduledTime"))
    instants = {instant_of(name) for name in active(cron)} | {last}
    return {instant for instant in instants if instant is not None}


def failure(status: Manifest) -> str:
    """What failed and its message."""
    nodes = (status.get("nodes") or {}).values()
    failed = [
        n for n in nodes if n.get("phase") in ("Failed", "Error") and n.get("type") not in ("Steps", "StepGroup", "DAG")
    ]
    parts = [f"{n.get('displayName') or n.get('name')}: {n.get('message') or n.get('phase')}" for n in failed[:3]]
    return "; ".join(parts) or status.get("message") or "no message"
