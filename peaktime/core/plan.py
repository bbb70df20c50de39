"""The actions between what should be and what is, and the reports that are owed, as one printable value.

Pure: standard library, ``schemas.records`` and the core only. It applies nothing; every action says why.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from peaktime.core import following, readiness, reminders
from peaktime.core.actions import Apply, Circumstances, Create, Delete, Observed, Plan, Problem, Start, Write
from peaktime.core.desired import FURTHEST_AHEAD, NO_RERUN, RERUN_TOLD_FOR, Desired
from peaktime.core.evidence import (
    children,
    complaint,
    differs,
    fired,
    hands_off,
    other_manager,
    ours,
    pause_mark,
    position_of,
    suspended,
    terminating,
)
from peaktime.core.outcomes import BEGUN, OVER, Facts, problem_subject, run_subject
from peaktime.core.profiles import Profiles
from peaktime.core.reports import Reports
from peaktime.core.requests import Entries
from peaktime.core.runs import (
    CRON_WORKFLOW,
    ENTRY,
    REQUEST,
    Manifest,
    Run,
    cron_workflow,
    noun,
    paused,
    resumed,
    workflow,
)
from schemas.records import FactState, OutcomeKind

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
        self.problems: list[Problem] = list(want.problems)
        self.looks: list[datetime] = []
        self.unfolded = False
        self.reports = Reports(target=want.target, position=want.position, entries=entries, facts=facts, at=at)

    def plan(self) -> Plan:
        reminders.configured(self.reports)
        self.unfolded = following.begun(self.seen, self.reports)
        self._cron_workflows()
        self.looks += following.unseen(self.want, self.seen, self.reports)
        self.looks += following.slow(self.profiles, self.reports)
        self._starts()
        self.looks += reminders.reminders(self.want, self.reports)
        self.looks += reminders.digest(self.want, self.reports, self.profiles.zone)
        self.problems += readiness.not_ready(self.want, self.seen, self.facts.by_subject, self.at, self.profiles.zone)
        self.looks += readiness.looks(self.want, self.at)
        self._refusals()
        self._problems()
        for run in self.want.runs.values():
            self.looks.append(run.instant if run.instant > self.now else self._due(run))
        change = self.want.timeline.next_change(self.now)
        if change is not None:
            self.looks.append(change)
        far = self.want.timeline.first_after(self.now + FURTHEST_AHEAD)
        if far is not None:
            self.looks.append(far - FURTHEST_AHEAD)
        later = [look for look in self.looks if look > self.now]
        return Plan(
            target=self.want.target,
            writes=(*self.creates, *self.deletes),
            reports=tuple(self.reports.owed),
            problems=tuple({(p.code, p.about): p for p in self.problems}.values()),
            look_again=min(later) if later else None,
        )

    def _due(self, run: Run) -> datetime:
        return max(run.instant, run.firing.since) + self.at.grace

    def _cron_workflows(self) -> None:
        for name, run in self.want.runs.items():
            obj = self.seen.cron_workflows.get(name)
            if obj is None:
                if run.instant > self.now:
                    self._create(run)
            elif not ours(obj):
                message = f"the name {name} is taken by an object that is not ours; rename or remove it"
                self._trouble("name-taken", name, message, run)
            else:
                self._keep(run, obj)
        for name, obj in self.seen.cron_workflows.items():
            if not ours(obj):
                continue
            wanted = self.want.runs.get(name)
            if wanted is None:
                self._remove(name, obj)
            if hands_off(obj):
                message = f"{name} is marked hands-off, so it is left as it is; take the mark off to have it kept up"
                self._trouble("hands-off", name, message, wanted)
            if complaint(obj):
                message = f"Argo's controller does not take {name}: {complaint(obj)}; mend its profile or templates"
                self._trouble("refused-by-argo", name, message, wanted)

    def _trouble(self, code: str, about: str, message: str, run: Run | None = None) -> None:
        entry = run.entry.key if run is not None else ""
        self.problems.append(Problem(code=code, about=about, message=message, entry=entry))

    def _manifest(self, run: Run, obj: Manifest | None = None) -> Manifest:
        """The CronWorkflow of a run as it should be, given what is there."""
        zone, namespace, position = self.profiles.zone, self.at.namespace, self.want.position
        manifest = cron_workflow(run, zone=zone, namespace=namespace, position=position)
        by_hand = obj is not None and suspended(obj) and not pause_mark(obj)
        if self.want.pause is not None and not by_hand:
            return paused(manifest, f"{self.want.pause.owner}: {self.want.pause.why}")
        if self.want.pause is None and obj is not None and pause_mark(obj):
            return resumed(manifest)
        return manifest

    def _create(self, run: Run) -> None:
        why = f"{run.firing.by.title!r} {noun(run)} at {_shown(run.instant)}: {run.firing.why}"
        self.creates.append(Create(manifest=self._manifest(run), reason=why))

    def _keep(self, run: Run, obj: Manifest) -> None:
        if position_of(obj) > self.want.position or terminating(obj) or hands_off(obj):
            return
        if run.instant > self.now and not self._in_place(run, obj):
            self._move(run, obj)
            return
        wanted = self._manifest(run, obj)
        difference = None if run.instant <= self.now else differs(wanted, obj)
        if difference is not None:
            if any(instant != run.instant for instant in fired(obj)):
                return
            wanted["metadata"]["resourceVersion"] = obj["metadata"]["resourceVersion"]
            self.creates.append(Apply(manifest=wanted, reason=self._why_apply(obj, difference)))
            return
        fact = self.facts.by_subject.get(run.subject)
        if run.instant > self.now and (fact is None or fact.state in (FactState.REMOVED, FactState.MISSED)):
            self.reports.report(self.reports.about_run(run), OutcomeKind.SCHEDULED, at=self.now)

    def _in_place(self, run: Run, obj: Manifest) -> bool:
        wanted = run.profile.namespace or self.at.namespace
        return bool(obj["metadata"].get("namespace", wanted) == wanted)

    def _move(self, run: Run, obj: Manifest) -> None:
        """Take away an object whose profile has another namespace by now; the next look makes it there.

        Not the other way round: while there are two, both would fire.
        """
        if fired(obj) or (suspended(obj) and not pause_mark(obj)):
            return
        namespace = run.profile.namespace or self.at.namespace
        self._delete(run.name, obj, run.entry.key, f"its profile has moved to namespace {namespace}")

    def _why_apply(self, obj: Manifest, difference: str) -> str:
        who = other_manager(obj, difference)
        if who:
            return f"{difference} is not as it should be: {who} changed it, and it is taken back"
        return f"{difference} is not as it should be"

    def _remove(self, name: str, obj: Manifest) -> None:
        if terminating(obj) or hands_off(obj) or self._busy(name, obj):
            return
        entry = (obj["metadata"].get("annotations") or {}).get(ENTRY, "")
        if entry not in self.entries.by_key:
            message = f"{name} carries our label, but nothing on the log explains it; see `peaktime prune {name}`"
            self.problems.append(Problem(code="unexplained", about=name, message=message))
            return
        if position_of(obj) > self.want.position:
            return
        self._delete(name, obj, entry, f"{entry} does not want it any more")

    def _delete(self, name: str, obj: Manifest, entry: str, reason: str) -> None:
        metadata = obj["metadata"]
        self.deletes.append(
            Delete(
                name=name,
                entry=entry,
                namespace=metadata.get("namespace", self.at.namespace),
                uid=metadata["uid"],
                resource_version=metadata["resourceVersion"],
                reason=reason,
            ),
        )

    def _busy(self, name: str, obj: Manifest) -> bool:
        """Whether a run of a CronWorkflow is not known to be over; until then the object stays."""
        begun = set(children(name, obj)) | {
            child
            for child, run in self.seen.workflows.items()
            if (run["metadata"].get("labels") or {}).get(CRON_WORKFLOW) == name
        }
        facts = [self.facts.by_subject.get(run_subject(child)) for child in begun]
        return any(fact is None or fact.state not in OVER for fact in facts)

    def _starts(self) -> None:
        again, owed = self.want.again, self.want.owed
        if again is not None:
            # It leads to what is owed, too.
            asked = again.firing.by.request_id
            seen = (run["metadata"].get("annotations") or {} for run in self.seen.workflows.values())
            if all(notes.get(REQUEST) != asked for notes in seen):
                self._start(again, again.instant, again.firing.why)
        elif owed is not None:
            why = f"it has been due since {_shown(owed.instant)} and did not start"
            self._start(owed, self._due(owed), why)

    def _start(self, run: Run, due: datetime, why: str) -> None:
        """Start a run, unless something speaks against it.

        Args:
            run: the run.
            due: from when on (UTC).
            why: why it is started by us.
        """
        if due > self.now:
            self.looks.append(due)
            return
        late = f"so the run due at {_shown(run.instant)} is not started"
        parent = self.seen.cron_workflows.get(run.name)
        if parent is not None and (not ours(parent) or terminating(parent) or position_of(parent) > self.want.position):
            return
        if self.want.pause is not None:
            by = f"{self.want.pause.owner} ({self.want.pause.why})"
            message = f"{self.want.target} is paused by {by}, {late}; resume it when that is right"
            self._trouble("paused", self.want.target, message, run)
            return
        if parent is not None and hands_off(parent):
            self._trouble("hands-off", run.name, f"{run.name} is marked hands-off, {late}; take the mark off", run)
            return
        if parent is not None and suspended(parent) and not pause_mark(parent):
            self._trouble("suspended", run.name, f"{run.name} is suspended by hand, {late}", run)
            return
        if run.workflow not in self.seen.workflows and self._taken(run):
            # It is tried all the same: nobody tells us when that name is free again.
            message = f"the name {run.workflow} is taken by a Workflow that is not ours, {late}; remove it"
            self._trouble("name-taken", run.workflow, message, run)
        fact = self.facts.by_subject.get(run.subject)
        if self.unfolded or run.workflow in self.seen.workflows or (fact is not None and fact.state in BEGUN):
            return
        going = following.going_on(self.profiles, self.reports)
        if going is not None:
            self.looks.append(going)
            return
        # An owner in another namespace does not exist for Kubernetes, which would take the Workflow for an orphan.
        owner = parent if parent is not None and self._in_place(run, parent) else None
        manifest = workflow(run, namespace=self.at.namespace, position=self.want.position, parent=owner)
        self.creates.append(Start(manifest=manifest, reason=f"{noun(run)} of {run.firing.by.title!r}: {why}"))

    def _taken(self, run: Run) -> bool:
        """Whether the name of a run is somebody else's, by what was met; once told, until the run is started."""
        told = self.facts.by_subject.get(problem_subject("name-taken", run.workflow))
        return run.workflow in self.seen.taken or (told is not None and told.state is FactState.OPEN)

    def _refusals(self) -> None:
        for profile, message in self.at.refusals.items():
            words = f"the API server would refuse what profile {profile} makes: {message}; mend the profile or the rule"
            self._trouble("refused-profile", profile, words)

    def _problems(self) -> None:
        current = {problem_subject(p.code, p.about): p for p in self.problems}
        for subject, problem in current.items():
            fact = self.facts.by_subject.get(subject)
            if fact is None or fact.state is not FactState.OPEN:
                base = replace(self.reports.blank(subject, problem.entry), code=problem.code)
                self.reports.report(base, OutcomeKind.PROBLEM_OPENED, at=self.now, message=problem.message)
        for subject, fact in self.facts.by_subject.items():
            if subject.startswith("problem/") and fact.state is FactState.OPEN and subject not in current:
                self.reports.report(fact.outcome, OutcomeKind.PROBLEM_CLOSED, at=self.now)
            elif fact.state is FactState.OPEN and fact.outcome.code == NO_RERUN:
                self.looks.append(fact.outcome.at + RERUN_TOLD_FOR)


def _shown(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC")
