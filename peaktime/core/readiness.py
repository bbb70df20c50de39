"""Readiness before the peak: whether everything that a firing needs is there while it can still be mended.

Pure: standard library, ``schemas.records`` and the core only. Nothing that Argo's controller writes before a first
firing proves more: a CronWorkflow as planned, not suspended, whose WorkflowTemplates hold the templates it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from peaktime.core.actions import Circumstances, Observed, Problem
from peaktime.core.desired import Desired
from peaktime.core.evidence import (
    complaint,
    differs,
    hands_off,
    ours,
    pause_mark,
    position_of,
    suspended,
    time_of,
)
from peaktime.core.outcomes import BEGUN, problem_subject
from peaktime.core.runs import Run, TemplateKey, cron_workflow, noun
from schemas.records import Fact, FactState

_CODE = "not-ready"


def needed(want: Desired, at: Circumstances) -> set[TemplateKey]:
    """The WorkflowTemplates that firings need soon enough to be looked at now.

    Args:
        want: what should be.
        at: the circumstances.
    """
    return {key for run in _soon(want, at) for key, _ in run.needs(at.namespace)}


def _soon(want: Desired, at: Circumstances) -> Iterator[Run]:
    if at.ready_before is not None:
        yield from (run for run in want.runs.values() if at.now < run.instant <= at.now + at.ready_before)


def looks(want: Desired, at: Circumstances) -> Iterator[datetime]:
    """When the firings to come must be ready (UTC)."""
    if at.ready_before is not None:
        yield from (run.instant - at.ready_before for run in want.runs.values())


def not_ready(
    want: Desired,
    seen: Observed,
    facts: Mapping[str, Fact],
    at: Circumstances,
    zone: str,
) -> Iterator[Problem]:
    """A problem for each firing that is near and lacks something.

    Args:
        want: what should be.
        seen: what is.
        facts: the target's, by subject.
        at: the circumstances.
        zone: zone of the cron fields.
    """
    for run in _soon(want, at):
        lacks = list(_lacks(run, want, seen, at, zone))
        if lacks:
            message = (
                f"the {noun(run)} of '{run.firing.by.title}' at {run.instant:%Y-%m-%d %H:%M} UTC is not ready: "
                f"{'; '.join(lacks)}. Mend it before then"
            )
            yield Problem(code=_CODE, about=run.workflow, message=message, entry=run.entry.key)
    for run in want.runs.values():
        # Its instant has come, and it has not begun: that is no sign that what was missing is there.
        known = facts.get(problem_subject(_CODE, run.workflow))
        begun = facts.get(run.subject)
        if run.instant > at.now or known is None or known.state is not FactState.OPEN:
            continue
        if begun is None or begun.state not in BEGUN:
            yield Problem(code=_CODE, about=run.workflow, message=known.outcome.message, entry=run.entry.key)


def _lacks(run: Run, want: Desired, seen: Observed, at: Circumstances, zone: str) -> Iterator[str]:
    if want.pause is not None:
        yield f"{want.target} is paused by {want.pause.owner} ({want.pause.why})"
    found = seen.cron_workflows.get(run.name)
    if run.name in at.failing:
        yield f"{run.name} cannot be written: {at.failing[run.name]}"
    if found is not None and ours(found):
        if suspended(found) and not pause_mark(found):
            yield f"{run.name} is suspended by hand"
        deleted_at = time_of(found["metadata"].get("deletionTimestamp"))
        if deleted_at is not None and deleted_at + at.grace <= at.now:
            yield f"{run.name} is being deleted and does not go, so it cannot be made anew; see its finalizers"
        if hands_off(found) or position_of(found) > want.position:
            wanted = cron_workflow(run, zone=zone, namespace=at.namespace, position=want.position)
            difference = differs(wanted, found)
            if difference is not None:
                why = "is marked hands-off" if hands_off(found) else "was written by a worker that had read further"
                yield f"{run.name} {why}, and {difference} is not as planned"
        if complaint(found):
            yield f"Argo's controller says of {run.name}: {complaint(found)}"
    yield from dict.fromkeys(_lacking_templates(run, seen, at.namespace))


def _lacking_templates(run: Run, seen: Observed, namespace: str) -> Iterator[str]:
    for key, template in run.needs(namespace):
        known = seen.templates.get(key)
        if known is None:
            continue
        where = f"WorkflowTemplate {key[1]} in namespace {key[0]}"
        if known.trouble:
            yield f"{where} cannot be read: {known.trouble}"
        elif known.names is None:
            yield f"there is no {where}"
        elif template not in known.names:
            yield f"{where} has no template '{template}'"
