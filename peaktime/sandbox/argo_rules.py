"""What the stand-in for Argo decides, as pure functions on objects: no clock, no cluster, no files.

It follows the cron controller of Argo Workflows 4, and of the workflow controller the least that lets a run begin and
end. Where it knowingly differs from Argo:

- no pod is run and no template is rendered: a Workflow succeeds when its time is up, unless it is told otherwise;
- a Workflow that names a template which is not there goes to Error; Argo refuses its CronWorkflow as a SpecError;
- ``when``, history limits and ``ttlStrategy`` are left out; ``stopStrategy`` knows comparisons of the counters only.
"""

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Final

from peaktime.sandbox import cron as cron_schedules

Object = dict[str, Any]
"""An object of the cluster, as its YAML or JSON says it."""

API_VERSION: Final = "argoproj.io/v1alpha1"
CRON_LABEL: Final = "workflows.argoproj.io/cron-workflow"
CRON_COMPLETED_LABEL: Final = "workflows.argoproj.io/cron-workflow-completed"
COMPLETED_LABEL: Final = "workflows.argoproj.io/completed"
PHASE_LABEL: Final = "workflows.argoproj.io/phase"
SCHEDULED_TIME: Final = "workflows.argoproj.io/scheduled-time"
LAST_SCHEDULE: Final = "cronworkflows.argoproj.io/last-used-schedule"
STAND_IN: Final = "sandbox.peaktime.io/stand-in"
STARTED_AT: Final = "sandbox.peaktime.io/started-at"
OUTCOME: Final = "sandbox.peaktime.io/outcome"
RUN_SECONDS: Final = "sandbox.peaktime.io/run-seconds"
REFUSED: Final = "SubmissionError"
"""The outcome, set in a CronWorkflow's workflowMetadata, that lets the creation of its Workflow fail."""

FINISHED: Final = frozenset({"Succeeded", "Failed", "Error"})
_PARAMETERS: Final = {OUTCOME: "sandbox-outcome", RUN_SECONDS: "sandbox-run-seconds"}
_LONGEST_NAME: Final = 52
_POLICIES: Final = frozenset({"", "Allow", "Forbid", "Replace"})
_SHUTDOWNS: Final = frozenset({"Terminate", "Stop"})
_COUNTERS: Final = {"cronworkflow.succeeded": "succeeded", "cronworkflow.failed": "failed"}
_STOP: Final = re.compile(
    r"\s*(cronworkflow\.(?:succeeded|failed)(?:\s*\+\s*cronworkflow\.(?:succeeded|failed))*)\s*(>=|<=|==|!=|>|<)\s*(\d+)\s*",
)
_COMPARISONS: Final[Mapping[str, Callable[[int, int], bool]]] = {
    ">=": ge,
    "<=": le,
    "==": eq,
    "!=": ne,
    ">": gt,
    "<": lt,
}


@dataclass(frozen=True, slots=True)
class Patch:
    """Merge-patch an object; ``event`` says what this means for a Workflow, if anything."""

    kind: str
    namespace: str
    name: str
    body: Object
    event: str = ""
    cron_workflow: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Create:
    """Create the Workflow of one firing."""

    at: datetime
    workflow: Object


@dataclass(frozen=True, slots=True)
class Refuse:
    """Act as if the Workflow of this firing could not be created."""

    at: datetime
    message: str


@dataclass(frozen=True, slots=True)
class Skip:
    """Leave this firing out."""

    at: datetime
    message: str


Action = Patch | Create | Refuse | Skip


@dataclass(frozen=True, slots=True)
class View:
    """The objects of a cluster at one look."""

    crons: Sequence[Object] = ()
    workflows: Sequence[Object] = ()
    templates: Sequence[Object] = ()

    def children(self) -> dict[tuple[str, str], list[Object]]:
        """The Workflows by the namespace and name of the CronWorkflow that their label names."""
        found: dict[tuple[str, str], list[Object]] = {}
        for workflow in self.workflows:
            if owner := labels(workflow).get(CRON_LABEL):
                found.setdefault((namespace(workflow), str(owner)), []).append(workflow)
        return found


@dataclass(frozen=True, slots=True)
class Running:
    """How runs go when their Workflow does not say otherwise."""

    run_seconds: float = 1.0
    fail: Sequence[str] = field(default=())
    """Patterns (as of file names) of Workflows that are to fail."""


# -- reading objects --


def name(thing: Object) -> str:
    """The name of an object."""
    return str(_part(thing, "metadata").get("name", ""))


def namespace(thing: Object) -> str:
    """The namespace of an object."""
    return str(_part(thing, "metadata").get("namespace", "default"))


def uid(thing: Object) -> str:
    """The uid of an object."""
    return str(_part(thing, "metadata").get("uid", ""))


def labels(thing: Object) -> Object:
    """The labels of an object."""
    return _part(_part(thing, "metadata"), "labels")


def annotations(thing: Object) -> Object:
    """The annotations of an object."""
    return _part(_part(thing, "metadata"), "annotations")


def phase(thing: Object) -> str:
    """The phase in the status of an object; empty if it has none."""
    return str(_part(thing, "status").get("phase") or "")


def finished(workflow: Object) -> bool:
    """Whether a Workflow is over."""
    return phase(workflow) in FINISHED


def spec(thing: Object) -> Object:
    """The spec of an object."""
    return _part(thing, "spec")


def moment(text: object) -> datetime | None:
    """Read a time as Kubernetes writes it; None if it is not one."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def stamp(instant: datetime) -> str:
    """Write a time as Kubernetes does: UTC, whole seconds."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merged(thing: Object, patch: Object) -> Object:
    """The object after a JSON merge patch (RFC 7386)."""
    result = dict(thing)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            before = result.get(key)
            result[key] = merged(before if isinstance(before, dict) else {}, value)
        else:
            result[key] = value
    return result


def _part(thing: Object, key: str) -> Object:
    found = thing.get(key)
    return found if isinstance(found, dict) else {}


# -- CronWorkflows --


def decide(cron: Object, children: Iterable[Object], now: datetime, looked: datetime | None = None) -> list[Action]:
    """What is to be done about one CronWorkflow.

    Args:
        cron: the CronWorkflow.
        children: the Workflows that bear its label.
        now: the time.
        looked: when this schedule of it was looked at before, None for the first time: what fires between the two looks
            is due. A first look finds only what there is to catch up after an earlier run.
    """
    children = list(children)
    actions: list[Action] = []
    for body in (_reconciled(cron, children), _condition(cron, "SpecError", spec_error(cron))):
        if body:
            actions.append(_patch(cron, body))
            cron = merged(cron, body)
    if spec_error(cron) or spec(cron).get("suspend"):
        return actions
    for at in _due(cron, children, now, looked):
        if phase(cron) == "Stopped":
            break
        if stops(cron):
            completed = merged(cron, {"metadata": {"labels": {CRON_COMPLETED_LABEL: "true"}}})
            actions.append(_patch(cron, _whole(completed, {"phase": "Stopped"})))
            break
        fired = _fire(cron, at)
        actions += fired
        began = [_reference(one.workflow) for one in fired if isinstance(one, Create)]
        cron = merged(cron, {"status": {"active": [*_active(cron), *began]}})
    return actions


def _fire(cron: Object, at: datetime) -> list[Action]:
    active = _active(cron)
    policy = spec(cron).get("concurrencyPolicy") or "Allow"
    if active and policy == "Forbid":
        return [Skip(at, "concurrencyPolicy is Forbid and a Workflow is active")]
    terminated: list[Action] = [
        Patch("Workflow", namespace(cron), str(run.get("name")), {"spec": {"shutdown": "Terminate"}})
        for run in (active if policy == "Replace" else ())
    ]
    workflow = child_of(cron, at)
    if _told(workflow, OUTCOME) == REFUSED:
        return [*terminated, Refuse(at, f"Failed to submit Workflow: told so by {OUTCOME}")]
    return [*terminated, Create(at, workflow)]


def created(cron: Object, workflow: Object, at: datetime) -> Patch:
    """What the CronWorkflow says once the Workflow of a firing has been created."""
    conditions = [one for one in _conditions(cron) if one.get("type") != "SubmissionError"]
    status: Object = {
        "active": [*_active(cron), _reference(workflow)],
        "lastScheduledTime": stamp(at),
        "phase": "Active",
        "conditions": conditions or None,
    }
    return _patch(cron, _whole(_remembering(cron), status))


def found_created(cron: Object) -> Patch:
    """What the CronWorkflow says if the Workflow was there already: as in Argo, only which schedule was used."""
    return _patch(cron, _whole(_remembering(cron), {}))


def refused(cron: Object, message: str) -> Patch:
    """What the CronWorkflow says once the Workflow of a firing could not be created: it counts as failed."""
    status: Object = _part(_condition(cron, "SubmissionError", message), "status")
    status = {**status, "failed": _count(cron, "failed") + 1}
    return _patch(cron, _whole(_remembering(cron), status))


def child_of(cron: Object, at: datetime) -> Object:
    """The Workflow of one firing."""
    metadata = _part(spec(cron), "workflowMetadata")
    workflow: Object = {
        "apiVersion": cron.get("apiVersion") or API_VERSION,
        "kind": "Workflow",
        "metadata": {
            "name": f"{name(cron)}-{int(at.timestamp())}",
            "namespace": namespace(cron),
            "labels": {CRON_LABEL: name(cron), **_part(metadata, "labels")},
            "annotations": {SCHEDULED_TIME: stamp(at), STAND_IN: "true", **_part(metadata, "annotations")},
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "CronWorkflow",
                    "name": name(cron),
                    "uid": uid(cron),
                    "controller": True,
                    "blockOwnerDeletion": True,
                },
            ],
        },
        "spec": copy.deepcopy(_part(spec(cron), "workflowSpec")),
    }
    if finalizers := metadata.get("finalizers"):
        workflow["metadata"]["finalizers"] = list(finalizers)
    return workflow


def spec_error(cron: Object) -> str:
    """Why a CronWorkflow cannot be scheduled; empty if it can."""
    wanted = spec(cron)
    try:
        wrong = {
            f"cron workflow name {name(cron)!r} must not be more than {_LONGEST_NAME} characters long": (
                len(name(cron)) > _LONGEST_NAME
            ),
            "cron workflow must have at least one schedule in schedules": not schedules(cron),
            f"{wanted.get('concurrencyPolicy')!r} is not a valid concurrencyPolicy": (
                wanted.get("concurrencyPolicy", "") not in _POLICIES
            ),
            "startingDeadlineSeconds must be positive": int(wanted.get("startingDeadlineSeconds") or 0) < 0,
            "the stand-in for Argo does not evaluate when": bool(wanted.get("when")),
        }
        stops(cron)
    except (ValueError, TypeError) as error:
        return str(error)
    return next((text for text, found in wrong.items() if found), "") or _entry_error(_part(wanted, "workflowSpec"))


def schedules(cron: Object) -> list[cron_schedules.Schedule]:
    """The schedules of a CronWorkflow, understood; ScheduleError if one is not."""
    wanted = spec(cron)
    return [
        cron_schedules.parse(str(text), str(wanted.get("timezone") or "")) for text in wanted.get("schedules") or []
    ]


def schedule_text(cron: Object) -> str:
    """The schedules and their zone in one line: a change of it begins a new schedule."""
    zone = spec(cron).get("timezone")
    prefix = f"CRON_TZ={zone} " if zone else ""
    return ",".join(f"{prefix}{text}" for text in spec(cron).get("schedules") or [])


def stops(cron: Object) -> bool:
    """Whether the stop strategy is fulfilled; ValueError if it cannot be evaluated."""
    expression = _part(spec(cron), "stopStrategy").get("expression")
    if expression is None:
        return False
    found = _STOP.fullmatch(str(expression))
    if found is None:
        raise ValueError(f"the stand-in for Argo does not understand the stop expression {expression!r}")
    total = sum(_count(cron, _COUNTERS[term.strip()]) for term in found[1].split("+"))
    return _COMPARISONS[found[2]](total, int(found[3]))


def next_firing(cron: Object, after: datetime) -> datetime | None:
    """When a CronWorkflow will fire next, if it goes on as it is; None if it will not."""
    if spec(cron).get("suspend") or phase(cron) == "Stopped" or spec_error(cron):
        return None
    return min((at for one in schedules(cron) if (at := one.first(after))), default=None)


def _due(cron: Object, children: Sequence[Object], now: datetime, looked: datetime | None) -> list[datetime]:
    wanted = schedules(cron)
    live = {at for one in wanted if looked and (at := one.first(looked, now))}
    return sorted(live | _missed(cron, wanted, children, now))


def _missed(
    cron: Object,
    wanted: Sequence[cron_schedules.Schedule],
    children: Sequence[Object],
    now: datetime,
) -> set[datetime]:
    """What is to be caught up: the latest missed firing after a run before, within the starting deadline."""
    last = moment(_part(cron, "status").get("lastScheduledTime"))
    deadline = spec(cron).get("startingDeadlineSeconds")
    if last is None or not deadline or annotations(cron).get(LAST_SCHEDULE) != schedule_text(cron):
        return set()
    since = max(last, now - timedelta(seconds=int(deadline)))
    there = {name(child) for child in children}
    for one in wanted:
        missed = [at for at in one.firings(since, now) if at < now]
        if missed and f"{name(cron)}-{int(missed[-1].timestamp())}" not in there:
            return {missed[-1]}
    return set()


def _reconciled(cron: Object, children: Sequence[Object]) -> Object:
    """Bring the active list and the counters up to date; an empty patch if they are."""
    own = {uid(child): child for child in children if _controlled(child, cron)}
    before = _active(cron)
    known = {str(run.get("uid")) for run in before}
    active = [*before, *(_reference(child) for key, child in own.items() if key not in known and not finished(child))]
    gone = [run for run in active if (child := own.get(str(run.get("uid")))) is None or finished(child)]
    if active == before and not gone:
        return {}
    status: Object = {"active": [run for run in active if run not in gone]}
    for run in gone:
        if (child := own.get(str(run.get("uid")))) is not None:
            counter = "succeeded" if phase(child) == "Succeeded" else "failed"
            status[counter] = status.get(counter, _count(cron, counter)) + 1
    if _stops_safely(merged(cron, {"status": status})):
        status["phase"] = "Stopped"
    return {"status": status}


def _stops_safely(cron: Object) -> bool:
    try:
        return stops(cron)
    except ValueError:
        return False


def _controlled(workflow: Object, cron: Object) -> bool:
    owners = _part(workflow, "metadata").get("ownerReferences") or []
    return any(
        owner.get("controller") and owner.get("kind") == "CronWorkflow" and owner.get("uid") == uid(cron)
        for owner in owners
    )


def _reference(workflow: Object) -> Object:
    return {
        "apiVersion": workflow.get("apiVersion") or API_VERSION,
        "kind": "Workflow",
        "name": name(workflow),
        "namespace": namespace(workflow),
        "uid": uid(workflow),
        "resourceVersion": str(_part(workflow, "metadata").get("resourceVersion", "")),
    }


def _active(cron: Object) -> list[Object]:
    return list(_part(cron, "status").get("active") or [])


def _conditions(cron: Object) -> list[Object]:
    return list(_part(cron, "status").get("conditions") or [])


def _count(cron: Object, counter: str) -> int:
    return int(_part(cron, "status").get(counter) or 0)


def _condition(cron: Object, kind: str, message: str) -> Object:
    """Set a condition, or take it back if there is no message; an empty patch if it is so already."""
    wanted = [{"type": kind, "status": "True", "message": message}] if message else []
    if [one for one in _conditions(cron) if one.get("type") == kind] == wanted:
        return {}
    others = [one for one in _conditions(cron) if one.get("type") != kind]
    return {"status": {"conditions": [*others, *wanted] or None}}


def _entry_error(workflow_spec: Object) -> str:
    if workflow_spec.get("workflowTemplateRef"):
        return ""
    entrypoint = workflow_spec.get("entrypoint")
    if not entrypoint:
        return "spec.entrypoint is required"
    if entrypoint not in {one.get("name") for one in workflow_spec.get("templates") or []}:
        return f"spec.entrypoint: template {entrypoint!r} undefined"
    return ""


def _remembering(cron: Object) -> Object:
    return merged(cron, {"metadata": {"annotations": {LAST_SCHEDULE: schedule_text(cron)}}})


def _whole(cron: Object, status: Object) -> Object:
    """A patch that carries all labels and annotations as they were seen, as Argo's does."""
    body: Object = {"metadata": {"annotations": dict(annotations(cron))}}
    if labels(cron):
        body["metadata"]["labels"] = dict(labels(cron))
    return {**body, "status": status} if status else body


def _patch(cron: Object, body: Object) -> Patch:
    metadata = _part(body, "metadata")
    metadata = {**metadata, "annotations": {STAND_IN: "true", **_part(metadata, "annotations")}}
    body = {**body, "metadata": metadata}
    return Patch("CronWorkflow", namespace(cron), name(cron), body, cron_workflow=name(cron))


# -- Workflows --


def advance(workflow: Object, templates: Iterable[Object], now: datetime, running: Running) -> Patch | None:
    """The next step of a Workflow, if it is time for one: to Running, and on to its end."""
    if finished(workflow):
        return None
    if phase(workflow) != "Running":
        missing = missing_template(workflow, templates)
        return _ended(workflow, "Error", now, missing) if missing else _started(workflow, now)
    shutdown = spec(workflow).get("shutdown")
    if shutdown in _SHUTDOWNS:
        return _ended(workflow, "Failed", now, f"Stopped with strategy '{shutdown}'")
    if now < ends_at(workflow, running):
        return None
    outcome = _told(workflow, OUTCOME)
    if outcome not in FINISHED:
        outcome = "Failed" if any(fnmatchcase(name(workflow), pattern) for pattern in running.fail) else "Succeeded"
    return _ended(
        workflow,
        outcome,
        now,
        "" if outcome == "Succeeded" else f"the stand-in was told to end it as {outcome}",
    )


def ends_at(workflow: Object, running: Running) -> datetime:
    """When a running Workflow is over."""
    started = moment(annotations(workflow).get(STARTED_AT)) or moment(_part(workflow, "status").get("startedAt"))
    try:
        seconds = float(_told(workflow, RUN_SECONDS))
    except ValueError:
        seconds = running.run_seconds
    return (started or datetime.min.replace(tzinfo=UTC)) + timedelta(seconds=max(seconds, 0.0))


def missing_template(workflow: Object, templates: Iterable[Object]) -> str:
    """Which template a Workflow names in vain; empty if none, or if the cluster holds no WorkflowTemplate at all."""
    templates = list(templates)
    if not templates:
        return ""
    known = {name(one): one for one in templates if namespace(one) == namespace(workflow)}
    for reference, inner in _references(spec(workflow)):
        template = known.get(reference)
        if template is None:
            return f"workflowtemplates.argoproj.io {reference!r} not found"
        if inner and inner not in {one.get("name") for one in spec(template).get("templates") or []}:
            return f"template reference {reference}.{inner} not found"
    return ""


def _references(part: object) -> Iterator[tuple[str, str]]:
    """The names of WorkflowTemplates, and of templates within them, that a spec refers to."""
    if isinstance(part, list):
        for one in part:
            yield from _references(one)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key in {"templateRef", "workflowTemplateRef"} and isinstance(value, dict):
                if not value.get("clusterScope"):
                    yield str(value.get("name", "")), str(value.get("template", ""))
            else:
                yield from _references(value)


def _told(workflow: Object, what: str) -> str:
    """What a Workflow says about how it is to go: by annotation, label or argument."""
    for place in (annotations(workflow), labels(workflow)):
        if what in place:
            return str(place[what])
    for parameter in _part(spec(workflow), "arguments").get("parameters") or []:
        if parameter.get("name") == _PARAMETERS[what]:
            return str(parameter.get("value", ""))
    return ""


def _started(workflow: Object, now: datetime) -> Patch:
    status: Object = {"startedAt": stamp(now), "progress": "0/1"}
    return _moved(workflow, "Running", status, {STARTED_AT: now.astimezone(UTC).isoformat()}, "")


def _ended(workflow: Object, outcome: str, now: datetime, message: str) -> Patch:
    status: Object = {"finishedAt": stamp(now), "progress": "1/1" if outcome == "Succeeded" else "0/1"}
    if not _part(workflow, "status").get("startedAt"):
        status["startedAt"] = stamp(now)
    if message:
        status["message"] = message
    return _moved(workflow, outcome, status, {}, message)


def _moved(workflow: Object, to: str, status: Object, notes: Object, message: str) -> Patch:
    over = to in FINISHED
    node: Object = {
        "id": name(workflow),
        "name": name(workflow),
        "displayName": name(workflow),
        "type": "Steps",
        "phase": to,
        "message": message or "no pod is run: this is a stand-in for Argo",
        **{key: value for key, value in status.items() if key.endswith("At")},
    }
    body: Object = {
        "metadata": {
            "labels": {PHASE_LABEL: to, COMPLETED_LABEL: "true" if over else "false"},
            "annotations": {STAND_IN: "true", **notes},
        },
        "status": {**status, "phase": to, "nodes": {name(workflow): node}},
    }
    owner = str(labels(workflow).get(CRON_LABEL, ""))
    return Patch("Workflow", namespace(workflow), name(workflow), body, to.lower(), owner, message)
