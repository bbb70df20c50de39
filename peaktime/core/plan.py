"""The actions between what should be and what is, and the reports that are owed, as one printable value.

Pure: standard library, ``schemas.records`` and the core only. It applies nothing; every action says why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from peaktime.core.capacity import Profiles
from peaktime.core.desired import (
    ACTION,
    BAND,
    CRON_WORKFLOW,
    DAY,
    ENTRY,
    FIRES_AT,
    LEVEL,
    MANAGED_BY,
    OURS,
    OWNER,
    POSITION,
    REQUEST,
    TITLE,
    VERBS,
    Desired,
    Manifest,
    Problem,
    Run,
    begun_instants,
    cron_workflow,
    run_of,
    workflow,
)
from peaktime.core.outcomes import BEGUN, OVER, Facts, is_run, problem_subject, run_subject, scales_out
from peaktime.core.requests import Entries
from schemas.records import Fact, FactState, Outcome, OutcomeKind, RequestAction

_PHASES = {"Succeeded": OutcomeKind.SUCCEEDED, "Failed": OutcomeKind.FAILED, "Error": OutcomeKind.FAILED}
_FINISHED = frozenset({FactState.SUCCEEDED, FactState.FAILED, FactState.ENDED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What the cluster holds for one target, as its API gave it.

    Attributes:
        cron_workflows: by name: ours of the target, and foreign ones whose name we would use.
        workflows: by name: the Workflows that carry our label and the target's.
    """

    cron_workflows: Mapping[str, Manifest] = field(default_factory=dict)
    workflows: Mapping[str, Manifest] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Create a CronWorkflow by POST."""

    manifest: Manifest
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Bring a CronWorkflow of ours back to what it should be, by server-side apply."""

    manifest: Manifest
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Start an owed run: create its Workflow under Argo's own name, by POST."""

    manifest: Manifest
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete a CronWorkflow of ours, its Workflows left behind."""

    name: str
    namespace: str
    uid: str
    resource_version: str
    reason: str


Write = Create | Apply | Start | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be done now, and why.

    Attributes:
        target: the target.
        writes: to the cluster, in order: what adds capacity before what takes it away.
        reports: outcomes that the facts do not show yet, in order.
        look_again: when, at the latest, to look again (UTC); None if only a change can matter.
    """

    target: str
    writes: tuple[Write, ...] = ()
    reports: tuple[Outcome, ...] = ()
    look_again: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a plan needs to know beside desired and observed.

    Attributes:
        now: the time (UTC).
        grace: how long a run may be late before it is started by us.
        namespace: where objects go unless a profile says otherwise.
        reporter: name of this worker.
        link_template: link to a Workflow, with ``{namespace}`` and ``{workflow}``; empty for none.
    """

    now: datetime
    grace: timedelta
    namespace: str
    reporter: str = ""
    link_template: str = ""


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
        self, want: Desired, seen: Observed, entries: Entries, facts: Facts, profiles: Profiles, at: Circumstances
    ) -> None:
        self.want, self.seen, self.entries, self.facts, self.profiles, self.at = (
            want,
            seen,
            entries,
            facts,
            profiles,
            at,
        )
        self.now = at.now
        self.creates: list[Write] = []
        self.deletes: list[Write] = []
        self.reports: list[Outcome] = []
        self.problems: list[Problem] = list(want.problems)
        self.looks: list[datetime] = []
        self.unfolded = False

    def plan(self) -> Plan:
        self._runs_seen()
        self._cron_workflows()
        owed = self._owed()
        self._unseen(owed)
        if owed is not None:
            self._start(owed)
        self._problems()
        for run in self.want.runs.values():
            due = run.instant if run.instant > self.now else max(run.instant, run.firing.since) + self.at.grace
            self.looks.append(due)
        later = [look for look in self.looks if look > self.now]
        return Plan(
            target=self.want.target,
            writes=(*self.creates, *self.deletes),
            reports=tuple(self.reports),
            look_again=min(later) if later else None,
        )

    def _runs_seen(self) -> None:
        """Every sign of a run that the facts do not show yet."""
        for name, obj in sorted(self.seen.workflows.items(), key=lambda item: _instant_of(item[0]) or self.now):
            fact = self.facts.by_subject.get(run_subject(name))
            status = obj.get("status") or {}
            if fact is None or fact.state not in BEGUN:
                started = _time(status.get("startedAt")) or _time(obj["metadata"].get("creationTimestamp")) or self.now
                self._report(self._about(name, obj), OutcomeKind.STARTED, at=started, started_at=started)
                self.unfolded = True
            kind = _PHASES.get(status.get("phase") or "")
            if kind is not None and (fact is None or fact.state not in _FINISHED or fact.state is FactState.ENDED):
                started_at = _time(status.get("startedAt"))
                finished = _time(status.get("finishedAt")) or self.now
                self._report(
                    self._about(name, obj),
                    kind,
                    at=finished,
                    started_at=started_at,
                    finished_at=finished,
                    message=_failure(status) if kind is OutcomeKind.FAILED else "",
                )
                self.unfolded = True
        for name, obj in self.seen.cron_workflows.items():
            if not ours(obj):
                continue
            for instant in _fired(obj):
                child = f"{name}-{int(instant.timestamp())}"
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
        if _position(obj) > self.want.position or "deletionTimestamp" in obj["metadata"]:
            return
        wanted = self._manifest(run)
        difference = None if run.instant <= self.now else differs(wanted, obj)
        if difference is not None:
            if any(instant != run.instant for instant in _fired(obj)):
                return
            wanted["metadata"]["resourceVersion"] = obj["metadata"]["resourceVersion"]
            self.creates.append(Apply(manifest=wanted, reason=f"{difference} is not as it should be"))
            return
        fact = self.facts.by_subject.get(run.subject)
        if run.instant > self.now and (fact is None or fact.state in (FactState.REMOVED, FactState.MISSED)):
            self._report(self._about_run(run), OutcomeKind.SCHEDULED, at=self.now)

    def _remove(self, name: str, obj: Manifest) -> None:
        if "deletionTimestamp" in obj["metadata"]:
            return
        entry = (obj["metadata"].get("annotations") or {}).get(ENTRY, "")
        position = _position(obj)
        if entry in self.entries.by_key and position > self.want.position:
            return
        if entry not in self.entries.by_key:
            message = f"{name} carries our label, but nothing on the log explains it; look at it and remove it by hand"
            self.problems.append(Problem(code="unexplained", about=name, message=message))
            return
        metadata = obj["metadata"]
        self.deletes.append(
            Delete(
                name=name,
                namespace=metadata.get("namespace", self.at.namespace),
                uid=metadata["uid"],
                resource_version=metadata["resourceVersion"],
                reason=f"{entry} does not want it any more",
            )
        )

    def _owed(self) -> Run | None:
        """The run that should have led to what is wanted now, if the last one that started did not."""
        force = self.want.timeline.in_force(self.now)
        last = self.facts.last_begun
        begun = begun_instants(self.facts)
        if force is not None:
            firing = force
            run = run_of(firing, self.entries, self.profiles, begun)
            if run is None or (last is not None and scales_out(last) and last.outcome.level == run.way.level):
                return None
        else:
            if last is None or not scales_out(last) or last.outcome.fires_at is None:
                return None
            stretch = self.want.timeline.stretch_of(last.outcome.fires_at)
            if stretch is None or stretch.ends_at is None or stretch.ends_at > self.now:
                return None
            if stretch.scale_in is None:
                if stretch.cut:
                    message = "its window was closed while open and nobody asked for a scale-in; ask for one"
                    about = last.outcome.entry
                    self.problems.append(Problem(code="no-scale-in", about=about, message=message, entry=about))
                return None
            firing = stretch.scale_in
        if last is not None and last.outcome.fires_at is not None and firing.instant <= last.outcome.fires_at:
            firing = replace(firing, instant=last.outcome.fires_at + timedelta(seconds=1))
        return run_of(firing, self.entries, self.profiles, begun)

    def _start(self, run: Run) -> None:
        due = max(run.instant, run.firing.since) + self.at.grace
        if due > self.now:
            self.looks.append(due)
            return
        if self.unfolded or run.workflow in self.seen.workflows:
            return
        fact = self.facts.by_subject.get(run.subject)
        if fact is not None and fact.state in BEGUN:
            return
        going = self._going_on()
        if going is not None:
            self.looks.append(going)
            return
        parent = self.seen.cron_workflows.get(run.name)
        if parent is not None and (not ours(parent) or (parent.get("spec") or {}).get("suspend")):
            if ours(parent):
                message = f"{run.name} is suspended by hand, so the run due at {_shown(run.instant)} is not started"
                self.problems.append(Problem(code="suspended", about=run.name, message=message, entry=run.entry.key))
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

    def _unseen(self, owed: Run | None) -> None:
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
                active = cron is not None and child in _active(cron)
                due = (fact.started_at or fires_at) + self.at.grace
                if not active and due <= self.now:
                    message = "its Workflow is gone, so how it ended could not be seen"
                    self._report(fact.outcome, OutcomeKind.ENDED, at=self.now, finished_at=self.now, message=message)
                elif not active:
                    self.looks.append(due)
                continue
            wanted = self.want.runs.get(name)
            still_wanted = wanted is not None and wanted.instant == fires_at
            if still_wanted or (owed is not None and owed.subject == fact.subject):
                continue
            if fires_at > self.now:
                if cron is None or (wanted is not None and wanted.instant != fires_at):
                    self._report(fact.outcome, OutcomeKind.REMOVED, at=self.now)
            elif fires_at + self.at.grace <= self.now:
                if cron is None or fires_at not in _fired(cron):
                    message = "it was due and did not start, and it is not wanted any more"
                    self._report(fact.outcome, OutcomeKind.MISSED, at=self.now, message=message)
            else:
                self.looks.append(fires_at + self.at.grace)

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

    def _report(self, base: Outcome, kind: OutcomeKind, **said: Any) -> None:
        fact = self.facts.by_subject.get(base.subject)
        identity = f"{base.subject}/{kind}/{fact.position if fact is not None else -1}"
        link = self.at.link_template.format(namespace=base.namespace, workflow=base.workflow) if base.workflow else ""
        said.setdefault("message", "")
        self.reports.append(
            replace(
                base,
                outcome_id=hashlib.sha256(identity.encode()).hexdigest()[:32],
                kind=kind,
                position=self.want.position,
                reporter=self.at.reporter,
                link=link,
                **said,
            )
        )

    def _about(self, child: str, obj: Manifest) -> Outcome:
        """What there is to say about a run that was seen: from its fact, or else from the object itself."""
        fact = self.facts.by_subject.get(run_subject(child))
        if fact is not None:
            return fact.outcome
        name, _, _ = child.rpartition("-")
        for run in self.want.runs.values():
            if run.workflow == child:
                return self._about_run(run)
        metadata = obj["metadata"]
        marks, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
        entry = self.entries.by_key.get(notes.get(ENTRY, ""))
        level = marks.get(LEVEL, "")
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
            fires_at=_instant_of(child) or _time(notes.get(FIRES_AT)),
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


def _differences(wanted: Any, found: Any, path: str) -> Iterator[str]:
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


def _position(obj: Manifest) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(POSITION, "")
    return int(text) if text.isdecimal() else -1


def _time(text: str | None) -> datetime | None:
    """An API timestamp as a UTC instant."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None


def _instant_of(child: str) -> datetime | None:
    """The firing instant in a Workflow's name."""
    seconds = child.rpartition("-")[2]
    return datetime.fromtimestamp(int(seconds), UTC) if seconds.isdecimal() else None


def _active(cron: Manifest) -> list[str]:
    return [ref.get("name", "") for ref in (cron.get("status") or {}).get("active") or []]


def _fired(cron: Manifest) -> set[datetime]:
    """The instants at which a CronWorkflow is known to have fired; its counters tell nothing."""
    last = _time((cron.get("status") or {}).get("lastScheduledTime"))
    instants = {_instant_of(name) for name in _active(cron)} | {last}
    return {instant for instant in instants if instant is not None}


def _failure(status: Manifest) -> str:
    """What failed and its message."""
    nodes = (status.get("nodes") or {}).values()
    failed = [
        n for n in nodes if n.get("phase") in ("Failed", "Error") and n.get("type") not in ("Steps", "StepGroup", "DAG")
    ]
    parts = [f"{n.get('displayName') or n.get('name')}: {n.get('message') or n.get('phase')}" for n in failed[:3]]
    return "; ".join(parts) or status.get("message") or "no message"


def _verb(run: Run) -> str:
    return "scale-out" if run.firing.action is RequestAction.SCALE_OUT else "scale-in"


def _shown(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC")
