"""What observed objects show: whose they are, whether they are as they should be, and which runs they prove.

Pure: standard library and the core only. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from peaktime.core.runs import ENTRY, HANDS_OFF, MANAGED_BY, OURS, PAUSED, POSITION, Manifest

_DIGITS = 10


def ours(obj: Manifest) -> bool:
    """Whether an object carries our label."""
    return bool((obj["metadata"].get("labels") or {}).get(MANAGED_BY) == OURS)


def differs(wanted: Manifest, found: Manifest) -> str | None:
    """The first thing of ours that an object does not have as it should, None if it has all.

    What others added is theirs. The position is not compared: it says who wrote, not what.
    """
    return next((path for path, _, _ in differences(wanted, found)), None)


def differences(wanted: Manifest, found: Manifest) -> Iterator[tuple[str, object, object]]:
    """Everything of ours that an object does not have as it should: where, what is wanted, and what is there."""
    for part in ("labels", "annotations"):
        have = found["metadata"].get(part) or {}
        for name, value in wanted["metadata"][part].items():
            if name != POSITION and have.get(name) != value:
                yield f"{part[:-1]} {name}", value, have.get(name)
    yield from _differences(wanted["spec"], found.get("spec"), "spec")


def _differences(wanted: object, found: object, path: str) -> Iterator[tuple[str, object, object]]:
    if wanted == found:
        return
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            yield path, wanted, found
            return
        for key, value in wanted.items():
            yield from _differences(value, found.get(key), f"{path}.{key}")
    elif isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            yield path, wanted, found
            return
        for index, value in enumerate(wanted):
            yield from _differences(value, found[index], f"{path}[{index}]")
    else:
        yield path, wanted, found


def entry_of(obj: Manifest) -> str:
    """The key of the entry that an object of ours names; empty if it names none."""
    return str((obj["metadata"].get("annotations") or {}).get(ENTRY, ""))


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


def children(name: str, cron: Manifest) -> dict[str, datetime]:
    """The runs that a CronWorkflow is known to have begun, by their Workflows' names, and when they fired (UTC)."""
    return {f"{name}-{int(instant.timestamp())}": instant for instant in fired(cron)}


def hands_off(obj: Manifest) -> bool:
    """Whether an operator has marked an object to be left alone, by label or annotation."""
    metadata = obj["metadata"]
    return any((metadata.get(part) or {}).get(HANDS_OFF) == "true" for part in ("labels", "annotations"))


def suspended(cron: Manifest) -> bool:
    """Whether a CronWorkflow is suspended, by whomever."""
    return bool((cron.get("spec") or {}).get("suspend"))


def pause_mark(cron: Manifest) -> str:
    """Why we suspended a CronWorkflow; empty if we did not."""
    return str((cron["metadata"].get("annotations") or {}).get(PAUSED, ""))


def complaint(cron: Manifest) -> str:
    """What Argo's controller has against a CronWorkflow, since a bad one is only shown there; empty for nothing."""
    for condition in (cron.get("status") or {}).get("conditions") or []:
        if condition.get("type") in ("SpecError", "SubmissionError") and condition.get("status") == "True":
            return f"{condition['type']}: {condition.get('message') or 'no message'}"
    return ""


def other_manager(found: Manifest, path: str) -> str:
    """Who else holds what ``differs`` found to be changed, and since when; empty if the object does not say.

    Args:
        found: the object, with its ``managedFields`` as the API server keeps them.
        path: as ``differs`` names it.
    """
    steps = _steps(path)
    holders = [
        (entry.get("time") or "", entry.get("manager") or "")
        for entry in found["metadata"].get("managedFields") or []
        if entry.get("manager") not in (OURS, None) and _holds(entry.get("fieldsV1") or {}, steps)
    ]
    if not holders:
        return ""
    when, who = max(holders)
    return f"{who} at {when}" if when else who


def _steps(path: str) -> list[str]:
    part, _, name = path.partition(" ")
    if part in ("label", "annotation"):
        return ["f:metadata", f"f:{part}s", f"f:{name}"]
    return [f"f:{step}" for step in path.partition("[")[0].split(".")]


def _holds(held: Manifest, steps: list[str]) -> bool:
    for step in steps:
        if step not in held:
            return False
        held = held[step] or {}
    return True


def failure(status: Manifest) -> str:
    """What failed and its message."""
    nodes = (status.get("nodes") or {}).values()
    failed = [
        n for n in nodes if n.get("phase") in ("Failed", "Error") and n.get("type") not in ("Steps", "StepGroup", "DAG")
    ]
    parts = [f"{n.get('displayName') or n.get('name')}: {n.get('message') or n.get('phase')}" for n in failed[:3]]
    return "; ".join(parts) or status.get("message") or "no message"
