"""A run and its objects: its name, its schedule, and the manifests of its CronWorkflow and its Workflow.

Pure: standard library, ``schemas.records`` and the core only. It renders plain values; whether a run is wanted is
``desired``'s question.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from peaktime.core.capacity import Firing
from peaktime.core.outcomes import run_subject
from peaktime.core.profiles import Profile, Way
from schemas.records import Entry, RequestAction

Manifest = dict[str, Any]
#: Namespace and name of a WorkflowTemplate.
TemplateKey = tuple[str, str]

API_VERSION = "argoproj.io/v1alpha1"
#: The label by which peaktime knows its own objects.
MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = "peaktime"
TARGET = "peaktime.io/target"
ACTION = "peaktime.io/action"
DAY = "peaktime.io/day"
BAND = "peaktime.io/band"
LEVEL = "peaktime.io/level"
ENTRY = "peaktime.io/entry"
REQUEST = "peaktime.io/request"
POSITION = "peaktime.io/position"
SPEC_HASH = "peaktime.io/spec-hash"
OWNER = "peaktime.io/owner"
TITLE = "peaktime.io/title"
FIRES_AT = "peaktime.io/fires-at"
#: On an object that we suspended: who paused its target, and why.
PAUSED = "peaktime.io/paused"
#: An operator's mark, label or annotation: "true" leaves the object alone.
HANDS_OFF = "peaktime.io/hands-off"
#: Argo's own label and annotation on a Workflow that a CronWorkflow started.
CRON_WORKFLOW = "workflows.argoproj.io/cron-workflow"
SCHEDULED_TIME = "workflows.argoproj.io/scheduled-time"

#: Argo names a child ``<name>-<unix seconds>``, which leaves a CronWorkflow this many characters.
LONGEST_NAME = 52
VERBS = {RequestAction.SCALE_OUT: "create", RequestAction.SCALE_IN: "delete"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One firing with everything that it needs: CronWorkflow name + firing instant = Argo's Workflow name.

    Attributes:
        name: of the CronWorkflow.
        firing: when and why.
        entry: the entry that holds the firing's action.
        profile: target + day + band of that action.
    """

    name: str
    firing: Firing
    entry: Entry
    profile: Profile

    @property
    def instant(self) -> datetime:
        """When it fires (UTC)."""
        return self.firing.instant

    @property
    def way(self) -> Way:
        """The direction: where to and by which steps."""
        return self.profile.scale_out if self.firing.action is RequestAction.SCALE_OUT else self.profile.scale_in

    @property
    def workflow(self) -> str:
        """Argo's name for the Workflow."""
        return f"{self.name}-{int(self.instant.timestamp())}"

    def needs(self, namespace: str) -> Iterator[tuple[TemplateKey, str]]:
        """Each WorkflowTemplate that its steps refer to, with the template within it.

        Args:
            namespace: where the run goes unless its profile says otherwise.
        """
        for stage in self.way.stages:
            for step in stage:
                yield (self.profile.namespace or namespace, step.workflow_template), step.template

    @property
    def subject(self) -> str:
        """The run as the subject of outcomes."""
        return run_subject(self.workflow)


def noun(run: Run) -> str:
    """``scale-out`` or ``scale-in``."""
    return "scale-out" if run.firing.action is RequestAction.SCALE_OUT else "scale-in"


def cron_name(firing: Firing, entry: Entry, begun: Mapping[str, set[datetime]]) -> str:
    """The CronWorkflow's name: the one operators know, and a hash of the instant where that would be used twice.

    Args:
        firing: the firing.
        entry: the entry that holds its action.
        begun: by CronWorkflow name, the instants at which it fired; a fired object is never used again.
    """
    digits = re.sub(r"\D", "", entry.event_date)
    plain = f"{OURS}-{VERBS[firing.action]}-{entry.target}-{firing.by.day}-{firing.by.band}-{digits}"
    if entry.origin != "pa":
        plain += f"-{entry.origin}"
    name = fitted(plain)
    if firing.instant == firing.own_instant and not begun.get(name, set()) - {firing.instant}:
        return name
    return fitted(f"{plain}-{_digest(firing.instant.isoformat())}")


def fitted(name: str) -> str:
    """The name, cut with an 8-digit hash of the whole if it is too long."""
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9].rstrip('-')}-{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def schedule(instant: datetime, zone: str) -> tuple[str, str]:
    """The cron line and the zone that mean just this minute; UTC in an hour that the zone's clock shows twice.

    Args:
        instant: a whole minute (UTC).
        zone: name of the zone that people read.
    """
    local = instant.astimezone(ZoneInfo(zone))
    twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    shown, name = (instant.astimezone(UTC), "UTC") if twice else (local, zone)
    return f"{shown.minute} {shown.hour} {shown.day} {shown.month} *", name


def labels(run: Run) -> dict[str, str]:
    """The labels of a run's objects."""
    return {
        MANAGED_BY: OURS,
        TARGET: run.entry.target,
        ACTION: VERBS[run.firing.action],
        DAY: run.firing.by.day,
        BAND: run.firing.by.band,
        LEVEL: str(run.way.level),
    }


def _annotations(run: Run) -> dict[str, str]:
    return {
        ENTRY: run.entry.key,
        REQUEST: run.firing.by.request_id,
        OWNER: run.firing.by.owner,
        TITLE: run.firing.by.title,
        FIRES_AT: run.instant.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def workflow_spec(run: Run) -> Manifest:
    """The run's steps: stages one after the other, the members of a stage in parallel."""
    spec: Manifest = {
        "entrypoint": OURS,
        "arguments": {
            "parameters": [
                {"name": "title", "value": run.firing.by.title},
                {"name": "eventDate", "value": run.entry.event_date},
                {"name": "requestId", "value": run.firing.by.request_id},
                {"name": "entry", "value": run.entry.key},
            ],
        },
        "ttlStrategy": {"secondsAfterCompletion": run.profile.ttl_seconds},
        "templates": [
            {
                "name": OURS,
                "steps": [
                    [
                        {
                            "name": step.service,
                            "templateRef": {"name": step.workflow_template, "template": step.template},
                            **_arguments(step.parameters),
                        }
                        for step in stage
                    ]
                    for stage in run.way.stages
                ],
            },
        ],
    }
    if run.profile.service_account:
        spec["serviceAccountName"] = run.profile.service_account
    return spec


def _arguments(parameters: Mapping[str, str]) -> Manifest:
    if not parameters:
        return {}
    return {"arguments": {"parameters": [{"name": n, "value": v} for n, v in parameters.items()]}}


def cron_workflow(run: Run, *, zone: str, namespace: str, position: int) -> Manifest:
    """The CronWorkflow of a run.

    Args:
        run: the run; its instant is a whole minute.
        zone: zone of the cron fields.
        namespace: where it goes unless its profile says otherwise.
        position: the target's folded position, by which writers are fenced.
    """
    line, name = schedule(run.instant, zone)
    spec: Manifest = {
        "schedules": [line],
        "timezone": name,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": run.profile.starting_deadline_seconds,
        "stopStrategy": {"expression": "cronworkflow.succeeded + cronworkflow.failed >= 1"},
        "workflowMetadata": {"labels": labels(run), "annotations": _annotations(run)},
        "workflowSpec": workflow_spec(run),
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "CronWorkflow",
        "metadata": {
            "name": run.name,
            "namespace": run.profile.namespace or namespace,
            "labels": labels(run),
            "annotations": {**_annotations(run), POSITION: str(position), SPEC_HASH: spec_hash(spec)},
        },
        "spec": spec,
    }


def paused(manifest: Manifest, why: str) -> Manifest:
    """The CronWorkflow, suspended, with who paused its target and why."""
    return _suspended(manifest, why, suspend=True)


def resumed(manifest: Manifest) -> Manifest:
    """The CronWorkflow as it is written once over one that we suspended.

    It says outright that it is not suspended: leaving a field out takes it away only from who set it by apply, and
    this one may have been set by the POST that created the object.
    """
    return _suspended(manifest, "", suspend=False)


def _suspended(manifest: Manifest, why: str, *, suspend: bool) -> Manifest:
    metadata = manifest["metadata"]
    return {
        **manifest,
        "metadata": {**metadata, "annotations": {**metadata["annotations"], PAUSED: why}},
        "spec": {**manifest["spec"], "suspend": suspend},
    }


def spec_hash(spec: Manifest) -> str:
    """A hash of what we want of an object, since Argo's controller rewrites labels and annotations as whole maps."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def workflow(run: Run, *, namespace: str, position: int, parent: Manifest | None) -> Manifest:
    """The Workflow of an owed run, under Argo's own name for it, as its controller would have made it.

    Args:
        run: the run.
        namespace: where it goes unless its profile says otherwise.
        position: the target's folded position.
        parent: the CronWorkflow, if there is one.
    """
    metadata: Manifest = {
        "name": run.workflow,
        "namespace": run.profile.namespace or namespace,
        "labels": {**labels(run), CRON_WORKFLOW: run.name},
        "annotations": {
            **_annotations(run),
            POSITION: str(position),
            SCHEDULED_TIME: run.instant.strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    }
    if parent is not None:
        metadata["ownerReferences"] = [
            {
                "apiVersion": API_VERSION,
                "kind": "CronWorkflow",
                "name": run.name,
                "uid": parent["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            },
        ]
    return {"apiVersion": API_VERSION, "kind": "Workflow", "metadata": metadata, "spec": workflow_spec(run)}
