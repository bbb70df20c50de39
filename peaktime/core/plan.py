"""The actions between what should be and what is, and the reports that are owed, as one printable value.

Pure: standard library, ``schemas.records`` and the core only. It applies nothing; every action says why.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from peaktime.core.actions import Apply, Circumstances, Create, Delete, Observed, Plan, Start, Write
from peaktime.core.desired import Desired, Problem
from peaktime.core.evidence import (
    active,
    differs,
    failure,
    fired,
    instant_of,
    ours,
    position_of,
    terminating,
    time_of,
)
from peaktime.core.outcomes import (
    BEGUN,
    KEPT_FOR,
    OVER,
    Facts,
    is_run,
    problem_subject,
    report_id,
    run_subject,
)
from peaktime.core.profiles import Profiles
from peaktime.core.requests import Entries
from peaktime.core.runs import (
    ACTION,
    BAND,
    CRON_WORKFLOW,
    DAY,
    ENTRY,
    FIRES_AT,
    LEVEL,
    OWNER,
    REQUEST,
    TITLE,
    VERBS,
    Manifest,
    Run,
    cron_workflow,
    workflow,
)
from schemas.records import FactState, Outcome, OutcomeKind, RequestAction

__all__ = [
    "Apply",
    "Circumstances",
    "Create",
    "Delete",
    "Observed",
    "Plan",
    "Start",
    "Write",
    "differs",
    "ours",
    "plan",
]

_PHASES = {"Succeeded": OutcomeKind.SUCCEEDED, "Failed": OutcomeKind.FAILED, "Error": OutcomeKind.FAILED}
_SEEN_TO_END = frozenset({FactState.SUCCEEDED, FactState.FAILED})


def plan(want: Desired, seen: Observed, entries: Entries, facts: Facts, profiles: Profiles, now: Circumstances) -> Plan:
    """Compare what should be with what is.

    Args:
        want: what should be.
        seen: what is.
        entries: the target's entries.
        facts: the target's facts.
        profiles: the configuration in force.
        now: the circumstances.
    """
    return _Planner(want, seen, entries, facts, profiles, now).plan()


class _Planner:
    """The parts of one plan share what they look at; nothing here outlives the call."""

    def __init__(
        self,
        want: Desired,
        seen: Observed,
        entries: Entries,
        facts: Facts,
        profiles: Profiles,
        at: Circumstances,
    ) -> None:
        self.want, self.seen, self.entries, self.facts = want, seen, entries, facts
        self.profiles, self.at, self.now = profiles, at, at.now
        self.creates: list[Write] = []
        self.deletes: list[Write] = []
        self.reports: list[Outcome] = []
        self.problems: list[Problem] = list(want.problems)
        self.looks: list[datetime] = []
        self.unfolded = False

    def plan(self) -> Plan:
        self._runs_seen()
        self._cron_workflows()
        self._unseen()
        if self.want.owed is not None:
            self._start(self.want.owed)
        self._problems()
        for run in self.want.runs.values():
            self.looks.append(run.instant if run.instant > self.now else self._due(run))
        change = self.want.timeline.next_change(self.now)
        if change is not None:
            self.looks.append(change)
        later = [look for look in self.looks if look > self.now]
        return Plan(
            target=self.want.target,
            writes=(*self.creates, *self.deletes),
            reports=tuple(self.reports),
            look_again=min(later) if later else None,
        )

    def _due(self, run: Run) -> datetime:
        return max(run.instant, run.firing.since) + self.at.grace

    def _runs_seen(self) -> None:
        """Every sign of a run that the facts do not show yet."""
        for name, obj in sorted(self.seen.workflows.items(), key=lambda item: instant_of(item[0]) or self.now):
            fact = self.facts.by_subject.get(run_subject(name))
            status = obj.get("status") or {}
            kind = _PHASES.get(status.get("phase") or "")
            started = time_of(status.get("startedAt")) or time_of(obj["metadata"].get("creationTimestamp")) or self.now
            finished = time_of(status.get("finishedAt")) or self.now
            if fact is None and kind is not None and finished < self.now - KEPT_FOR:
                continue  # reported once, and forgotten by now
            if fact is None or fact.state not in BEGUN:
                self._report(self._about(name, obj), OutcomeKind.STARTED, at=started, started_at=started)
                self.unfolded = True
            if kind is not None and (fact is None or fact.state not in _SEEN_TO_END):
                message = failure(status) if kind is OutcomeKind.FAILED else ""
                said = replace(self._about(name, obj), started_at=started, finished_at=finished)
                self._report(said, kind, at=finished, message=message)
                self.unfolded = True
        for name, obj in self.seen.cron_workflows.items():
            if not ours(obj):
                continue
            for child, instant in _children(name, obj).items():
                fact = self.facts.by_subject.get(run_subject(child))
                if child not in self.seen.workflows and (fact is None or fact.state not in BEGUN):
                    self._report(self._about(child, obj), OutcomeKind.STARTED, at=instant, started_at=instant)
                    self.unfolded = True

    def _cron_workflows(self) -> None:
        for name, run in self.want.runs.items():
            obj = self.seen.cron_workflows.get(name)
            if obj is None:
                if run.instant > self.now:
                    self._create(run)
            elif not ours(obj):
                message = f"the name {name} is taken by an object that is not ours; rename or remove it"
                self.problems.append(Problem(code="name-taken", about=name, message=message, entry=run.entry.key))
            else:
                self._keep(run, obj)
        for name, obj in self.seen.cron_workflows.items():
            if name not in self.want.runs and ours(obj):
                self._remove(name, obj)

    def _manifest(self, run: Run) -> Manifest:
        return cron_workflow(run, zone=self.profiles.zone, namespace=self.at.namespace, position=self.want.position)

    def _create(self, run: Run) -> None:
        why = f"{run.firing.by.title!r} {_verb(run)} at {_shown(run.instant)}: {run.firing.why}"
        self.creates.append(Create(manifest=self._manifest(run), reason=why))

    def _keep(self, run: Run, obj: Manifest) -> None:
        if position_of(obj) > self.want.position or terminating(obj):
            return
        wanted = self._manifest(run)
        difference = None if run.instant <= self.now else differs(wanted, obj)
        if difference is not None:
            if any(instant != run.instant for instant in fired(obj)):
                return
            wanted["metadata"]["resourceVersion"] = obj["metadata"]["resourceVersion"]
            self.creates.append(Apply(manifest=wanted, reason=f"{difference} is not as it should be"))
            return
        fact = self.facts.by_subject.get(run.subject)
        if run.instant > self.now and (fact is None or fact.state in (FactState.REMOVED, FactState.MISSED)):
            self._report(self._about_run(run), OutcomeKind.SCHEDULED, at=self.now)

    def _remove(self, name: str, obj: Manifest) -> None:
        if terminating(obj) or self._busy(name, obj):
            return
        entry = (obj["metadata"].get("annotations") or {}).get(ENTRY, "")
        if entry not in self.entries.by_key:
            message = f"{name} carries our label, but nothing on the log explains it; look at it and remove it by hand"
            self.problems.append(Problem(code="unexplained", about=name, message=message))
            return
        if position_of(obj) > self.want.position:
            return
        metadata = obj["metadata"]
        self.deletes.append(
            Delete(
                name=name,
                namespace=metadata.get("namespace", self.at.namespace),
                uid=metadata["uid"],
                resource_version=metadata["resourceVersion"],
                reason=f"{entry} does not want it any more",
            ),
        )

    def _busy(self, name: str, obj: Manifest) -> bool:
        """Whether a run of a CronWorkflow is not known to be over; until then the object stays."""
        begun = set(_children(name, obj)) | {
            child
            for child, run in self.seen.workflows.items()
            if (run["metadata"].get("labels") or {}).get(CRON_WORKFLOW) == name
        }
        facts = [self.facts.by_subject.get(run_subject(child)) for child in begun]
        return any(fact is None or fact.state not in OVER for fact in facts)

    def _start(self, run: Run) -> None:
        if self._due(run) > self.now:
            return
        parent = self.seen.cron_workflows.get(run.name)
        if parent is not None:
            if not ours(parent) or terminating(parent) or position_of(parent) > self.want.position:
                return
            if (parent.get("spec") or {}).get("suspend"):
                message = f"{run.name} is suspended by hand, so the run due at {_shown(run.instant)} is not started"
                self.problems.append(Problem(code="suspended", about=run.name, message=message, entry=run.entry.key))
                return
        fact = self.facts.by_subject.get(run.subject)
        if self.unfolded or run.workflow in self.seen.workflows or (fact is not None and fact.state in BEGUN):
            return
        going = self._going_on()
        if going is not None:
            self.looks.append(going)
            return
        manifest = workflow(run, namespace=self.at.namespace, position=self.want.position, parent=parent)
        why = f"{_verb(run)} of {run.firing.by.title!r} has been due since {_shown(run.instant)} and did not start"
        self.creates.append(Start(manifest=manifest, reason=why))

    def _going_on(self) -> datetime | None:
        """Until when a run of the target that is going on holds up others; None if none is."""
        for fact in self.facts.by_subject.values():
            if is_run(fact) and fact.state is FactState.STARTED and fact.started_at is not None:
                profile = self.profiles.find(fact.target, fact.outcome.day, fact.outcome.band)
                until = fact.started_at + timedelta(seconds=profile.expected_seconds if profile else 600)
                if until > self.now:
                    return until
        return None

    def _unseen(self) -> None:
        """Runs that the facts know and the cluster does not show: removed, missed, or over unseen."""
        for fact in self.facts.by_subject.values():
            if not is_run(fact) or fact.state in OVER:
                continue
            name, fires_at = fact.outcome.cron_workflow, fact.outcome.fires_at or self.now
            child = fact.subject.removeprefix("run/")
            if child in self.seen.workflows:
                continue
            cron = self.seen.cron_workflows.get(name)
            cron = cron if cron is not None and ours(cron) else None
            if fact.state is FactState.STARTED:
                going = cron is not None and child in active(cron)
                due = (fact.started_at or fires_at) + self.at.grace
                if not going and due <= self.now:
                    message = "its Workflow is gone, so how it ended could not be seen"
                    said = replace(fact.outcome, finished_at=self.now)
                    self._report(said, OutcomeKind.ENDED, at=self.now, message=message)
                elif not going:
                    self.looks.append(due)
                continue
            wanted = self.want.runs.get(name)
            if wanted is not None and wanted.instant == fires_at:
                continue
            if fires_at > self.now:
                if cron is None or wanted is not None:
                    self._report(fact.outcome, OutcomeKind.REMOVED, at=self.now)
            elif fires_at + self.at.grace > self.now:
                self.looks.append(fires_at + self.at.grace)
            elif cron is None or fires_at not in fired(cron):
                message = "it was due and did not start, and it is not wanted any more"
                self._report(fact.outcome, OutcomeKind.MISSED, at=self.now, message=message)

    def _problems(self) -> None:
        current = {problem_subject(p.code, p.about): p for p in self.problems}
        for subject, problem in current.items():
            fact = self.facts.by_subject.get(subject)
            if fact is None or fact.state is not FactState.OPEN:
                entry = self.entries.by_key.get(problem.entry)
                base = Outcome(
                    outcome_id="",
                    subject=subject,
                    target=self.want.target,
                    at=self.now,
                    entry=problem.entry,
                    origin=entry.origin if entry else "",
                    event_date=entry.event_date if entry else "",
                    code=problem.code,
                )
                self._report(base, OutcomeKind.PROBLEM_OPENED, at=self.now, message=problem.message)
        for subject, fact in self.facts.by_subject.items():
            if subject.startswith("problem/") and fact.state is FactState.OPEN and subject not in current:
                self._report(fact.outcome, OutcomeKind.PROBLEM_CLOSED, at=self.now)

    def _report(
        self,
        base: Outcome,
        kind: OutcomeKind,
        *,
        at: datetime,
        started_at: datetime | None = None,
        message: str = "",
    ) -> None:
        link = self.at.link_template.format(namespace=base.namespace, workflow=base.workflow) if base.workflow else ""
        self.reports.append(
            replace(
                base,
                outcome_id=report_id(base.subject, kind, self.facts.by_subject.get(base.subject)),
                kind=kind,
                at=at,
                started_at=started_at or base.started_at,
                message=message,
                position=self.want.position,
                reporter=self.at.reporter,
                link=link,
            ),
        )

    def _about(self, child: str, obj: Manifest) -> Outcome:
        """What there is to say about a run that was seen: what the object says of itself, else what is known of it."""
        metadata = obj["metadata"]
        marks, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
        fact = self.facts.by_subject.get(run_subject(child))
        level = marks.get(LEVEL, "")
        if fact is not None and not level.isdecimal():
            return fact.outcome
        name, _, _ = child.rpartition("-")
        entry = self.entries.by_key.get(notes.get(ENTRY, ""))
        return Outcome(
            outcome_id="",
            subject=run_subject(child),
            target=self.want.target,
            at=self.now,
            entry=notes.get(ENTRY, ""),
            origin=entry.origin if entry else "",
            event_date=entry.event_date if entry else "",
            request_id=notes.get(REQUEST, ""),
            title=notes.get(TITLE, ""),
            owner=notes.get(OWNER, ""),
            action=next((a for a, verb in VERBS.items() if verb == marks.get(ACTION)), RequestAction.UNKNOWN),
            day=marks.get(DAY, ""),
            band=marks.get(BAND, ""),
            level=int(level) if level.isdecimal() else None,
            namespace=metadata.get("namespace", self.at.namespace),
            cron_workflow=marks.get(CRON_WORKFLOW, name),
            workflow=child,
            fires_at=instant_of(child) or time_of(notes.get(FIRES_AT)),
        )

    def _about_run(self, run: Run) -> Outcome:
        return Outcome(
            outcome_id="",
            subject=run.subject,
            target=self.want.target,
            at=self.now,
            entry=run.entry.key,
            origin=run.entry.origin,
            event_date=run.entry.event_date,
            request_id=run.firing.by.request_id,
            title=run.firing.by.title,
            owner=run.firing.by.owner,
            action=run.firing.action,
            day=run.firing.by.day,
            band=run.firing.by.band,
            level=run.way.level,
            namespace=run.profile.namespace or self.at.namespace,
            cron_workflow=run.name,
            workflow=run.workflow,
            fires_at=run.instant,
        )


def _children(name: str, cron: Manifest) -> dict[str, datetime]:
    """The runs that a CronWorkflow of ours is known to have begun, and when they fired."""
    return {f"{name}-{int(instant.timestamp())}": instant for instant in fired(cron)}


def _verb(run: Run) -> str:
    return "scale-out" if run.firing.action is RequestAction.SCALE_OUT else "scale-in"


def _shown(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC")
