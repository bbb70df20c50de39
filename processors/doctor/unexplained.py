"""Objects that carry our label and that the log does not explain.

Pure: whether the log explains one, and what there is to tell of one that it does not. Must not: read or remove.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from peaktime.core.evidence import fired, hands_off, ours, terminating
from peaktime.core.runs import ENTRY, FIRES_AT, HANDS_OFF, OWNER, POSITION, TARGET, TITLE, Manifest
from processors.doctor.lines import Line, ok, warning, wrong

_UNSAID = "(it does not say)"


def why_unexplained(obj: Manifest, entries: Collection[str]) -> str | None:
    """Why the log does not explain an object of ours; None if it does.

    Args:
        obj: a CronWorkflow with our label.
        entries: the keys of all entries on the log.
    """
    key = _note(obj, ENTRY)
    if not key:
        return "it names no entry"
    if key not in entries:
        return f"the log has no entry {key}"
    target = str((obj["metadata"].get("labels") or {}).get(TARGET, ""))
    if key.partition("/")[0] != target:
        return f"its label says target {target or '(none)'}, and its entry is {key}"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One deletion: just the object that was shown, its Workflows left behind."""

    name: str
    namespace: str
    uid: str
    resource_version: str

    @property
    def body(self) -> Manifest:
        """The options of the deletion."""
        return {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Orphan",
            "preconditions": {"uid": self.uid, "resourceVersion": self.resource_version},
        }


def removal_of(obj: Manifest) -> Removal:
    """How an object is removed."""
    metadata = obj["metadata"]
    return Removal(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
    )


def refusal(name: str, obj: Manifest | None, entries: Collection[str]) -> tuple[str, str] | None:
    """Why an object must not be pruned, and what to do instead; None if it may be.

    Args:
        name: the name that was asked for.
        obj: the CronWorkflow of that name; None if there is none.
        entries: the keys of all entries on the log.
    """
    if obj is None:
        return f"there is no CronWorkflow {name}", "See `peaktime doctor` for their names, and give --namespace"
    if not ours(obj):
        return "it does not carry our label, so it is somebody else's", "Ask whoever made it; peaktime never touches it"
    if terminating(obj):
        return "it is being deleted already", "Wait; if it stays, look at its finalizers with kubectl"
    if hands_off(obj):
        command = f"kubectl annotate cronworkflow {name} {HANDS_OFF}-"
        return "an operator marked it hands-off", f"Take the mark off first: `{command}`, or the label of that name"
    if why_unexplained(obj, entries) is None:
        key = _note(obj, ENTRY)
        target, _, rest = key.partition("/")
        origin, _, event_date = rest.partition("/")
        command = f"peaktime request delete --target {target} --event-date {event_date} --origin {origin}"
        return f"the log explains it: it belongs to {key}", f"Delete the event, and it goes by itself: `{command}`"
    return None


def told(obj: Manifest, workflows: Iterable[Manifest], entries: Collection[str]) -> list[tuple[str, str]]:
    """What is known of an object, as pairs of a word and a text."""
    spec = obj.get("spec") or {}
    cron = ", ".join([*(spec.get("schedules") or []), *([spec["schedule"]] if spec.get("schedule") else [])])
    return [
        ("CronWorkflow", f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"),
        ("why", why_unexplained(obj, entries) or "the log explains it"),
        ("entry", _note(obj, ENTRY) or _UNSAID),
        ("title", _note(obj, TITLE) or _UNSAID),
        ("owner", _note(obj, OWNER) or _UNSAID),
        ("position", _note(obj, POSITION) or _UNSAID),
        ("fires", _note(obj, FIRES_AT) or _UNSAID),
        ("schedule", f"{cron or _UNSAID} {spec.get('timezone', '')}".strip() + _suspended(spec)),
        ("created", str(obj["metadata"].get("creationTimestamp", _UNSAID))),
        ("runs", _runs(obj, workflows)),
    ]


def _suspended(spec: Manifest) -> str:
    return ", suspended" if spec.get("suspend") else ""


def _runs(obj: Manifest, workflows: Iterable[Manifest]) -> str:
    found = [
        f"{one['metadata']['name']} ({(one.get('status') or {}).get('phase') or 'not begun'})" for one in workflows
    ]
    if found:
        return ", ".join(sorted(found)) + "; they stay"
    instants = sorted(instant.strftime("%Y-%m-%dT%H:%M:%SZ") for instant in fired(obj))
    return f"fired at {', '.join(instants)}; its Workflows are gone" if instants else "none"


def _note(obj: Manifest, name: str) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(name, ""))


def objects_lines(crons: Sequence[Manifest], entries: Collection[str]) -> list[Line]:
    """Our CronWorkflows against the log.

    Args:
        crons: all that carry our label.
        entries: the keys of all entries on the log.
    """
    lines = []
    for obj in crons:
        why = None if terminating(obj) else why_unexplained(obj, entries)
        if why is not None:
            name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
            title, fires = _note(obj, TITLE) or _UNSAID, _note(obj, FIRES_AT) or "nobody knows when"
            said = f"carries our label, and the log does not explain it ({why}); {title!r}, fires {fires}"
            remedy = f"If nobody needs it: `peaktime prune {name} --namespace {namespace}`"
            lines.append(wrong(f"CronWorkflow {namespace}/{name}", said, remedy))
    if lines and not entries:
        lines.append(strange_log())
    return lines or [ok("CronWorkflows", f"{len(crons)} of ours; the log explains all of them")]


def strange_log() -> Line:
    """There are objects and no entry at all: this may be the wrong log."""
    said = "there is not a single entry, so nothing is explained"
    remedy = "First see that PEAKTIME_KAFKA_BOOTSTRAP and PEAKTIME_TOPIC_PREFIX are those of this cluster's worker"
    return warning("the log", said, remedy)
