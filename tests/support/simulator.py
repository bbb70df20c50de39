"""A target in small: a log, its folds, a cluster, and a stand-in for Argo's controller, with time made by hand.

It looks only when the loop would be woken: by a fold, by a change of the cluster, or at the time that the plan gave.
"""

import pickle
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from peaktime.core.capacity import Profiles
from peaktime.core.desired import desired
from peaktime.core.outcomes import Facts
from peaktime.core.plan import Apply, Circumstances, Create, Delete, Observed, Plan, Start, plan
from schemas.records import Outcome, ScaleRequest

from .asking import Log, at, minute_of, profiles

GRACE = timedelta(seconds=60)
LABEL = "workflows.argoproj.io/cron-workflow"


def copied(manifests):
    """A copy with nothing in common. Of a manifest pickle makes one in a fifth of the time of copy."""
    return pickle.loads(pickle.dumps(manifests))


class ConflictError(Exception):
    """As the API server says 409."""


@dataclass
class Began:
    """A run that began."""

    minute: float
    workflow: str
    level: int
    out: bool
    ours: bool


@dataclass
class World:
    """Everything, at one time.

    Attributes:
        misses: whether the controller is down at a minute.
        run_minutes: how long a run takes.
        fails: whether a Workflow fails.
        around: more circumstances, by name.
        templates: the WorkflowTemplates that were looked at.
        taken: names of Workflows that are not ours.
    """

    profiles: Profiles = field(default_factory=profiles)
    misses: object = lambda _minute: False
    run_minutes: float = 0.5
    fails: object = lambda _name: False
    around: dict = field(default_factory=dict)
    templates: dict = field(default_factory=dict)
    taken: frozenset = frozenset()
    minute: float = 0.0
    log: Log = field(default_factory=Log)
    facts: Facts = field(default_factory=Facts)
    crons: dict = field(default_factory=dict)
    workflows: dict = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    began: list[Began] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    folding: bool = True
    unfolded: list[Outcome] = field(default_factory=list)
    look_again: datetime | None = None
    version: int = 0

    # -- the cluster --

    def _stored(self, manifest):
        self.version += 1
        stored = copied(manifest)
        stored["metadata"]["resourceVersion"] = str(self.version)
        stored["metadata"].setdefault("uid", f"uid-{self.version}")
        return stored

    def touch(self, obj):
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)

    def apply(self, write) -> None:
        match write:
            case Create(manifest=manifest):
                name = manifest["metadata"]["name"]
                if name in self.crons:
                    raise ConflictError(name)
                self.crons[name] = self._stored(manifest)
            case Apply(manifest=manifest):
                found = self.crons[manifest["metadata"]["name"]]
                if found["metadata"]["resourceVersion"] != manifest["metadata"]["resourceVersion"]:
                    raise ConflictError(manifest["metadata"]["name"])
                new = self._stored(manifest)
                new["metadata"]["uid"] = found["metadata"]["uid"]
                new["spec"] = {**found["spec"], **new["spec"]}
                new["status"] = found.get("status", {})
                self.crons[manifest["metadata"]["name"]] = new
            case Start(manifest=manifest):
                self._begin(copied(manifest), ours=True)
            case Delete(name=name, uid=uid, resource_version=version):
                metadata = self.crons[name]["metadata"]
                if (metadata["uid"], metadata["resourceVersion"]) != (uid, version):
                    raise ConflictError(name)
                del self.crons[name]  # its Workflows are orphaned, not deleted

    # -- Argo --

    def _begin(self, manifest, *, ours):
        name = manifest["metadata"]["name"]
        if name in self.workflows:
            raise ConflictError(name)
        stored = self._stored(manifest)
        stored["status"] = {"phase": "Running", "startedAt": stamp(at(self.minute))}
        self.workflows[name] = stored
        labels = stored["metadata"]["labels"]
        out = labels["peaktime.io/action"] == "create"
        self.began.append(Began(self.minute, name, int(labels["peaktime.io/level"]), out, ours))

    def fires_at(self, cron) -> float | None:
        """The minute at which a CronWorkflow will fire next, within a day."""
        if not cron["spec"].get("schedules"):
            return None
        line, zone = cron["spec"]["schedules"][0].split(), ZoneInfo(cron["spec"]["timezone"])
        minute, hour, day, month = (int(part) for part in line[:4])
        for ahead in (0, 1):
            local = (at(self.minute) + timedelta(days=ahead)).astimezone(zone)
            if (local.day, local.month) == (day, month):
                fires = minute_of(local.replace(hour=hour, minute=minute, second=0, microsecond=0))
                if fires > self.minute:
                    return fires
        return None

    def controller(self) -> bool:
        """Whatever is due at this minute; whether anything changed."""
        changed = False
        for name, workflow in self.workflows.items():
            started = minute_of(datetime.fromisoformat(workflow["status"]["startedAt"]))
            if workflow["status"]["phase"] == "Running" and self.minute >= started + self.run_minutes:
                phase = "Failed" if self.fails(name) else "Succeeded"
                workflow["status"] |= {"phase": phase, "finishedAt": stamp(at(self.minute))}
                self.touch(workflow)
                changed = True
                cron = self.crons.get(workflow["metadata"]["labels"].get(LABEL))
                if cron is not None and cron.get("status"):
                    cron["status"] |= {"active": [], "phase": "Stopped"}
                    self.touch(cron)
        return changed

    def fire(self, names) -> bool:
        """The CronWorkflows fire at this minute, unless they are suspended or the controller is down."""
        changed = False
        for name in names:
            cron = self.crons.get(name)
            if cron is None or cron["spec"].get("suspend") or self.misses(self.minute):
                continue
            if (cron.get("status") or {}).get("phase") == "Stopped":
                continue
            child = f"{name}-{int(at(self.minute).timestamp())}"
            if child in self.workflows:
                continue
            given = copied(cron["spec"]["workflowMetadata"])
            given["labels"][LABEL] = name
            self._begin({"metadata": {"name": child, "namespace": "peaktime", **given}}, ours=False)
            cron["status"] = {"active": [{"name": child}], "lastScheduledTime": stamp(at(self.minute))}
            self.touch(cron)
            changed = True
        return changed

    # -- peaktime --

    def decide(self) -> Plan:
        entries = self.log.entries
        want = desired("infra", entries, self.facts, self.profiles, at(self.minute), grace=GRACE)
        seen = Observed(
            cron_workflows=copied(self.crons),
            workflows=copied(self.workflows),
            templates=self.templates,
            taken=self.taken,
        )
        circumstances = Circumstances(
            now=at(self.minute),
            grace=GRACE,
            namespace="peaktime",
            reporter="test",
            **self.around,
        )
        return plan(want, seen, entries, self.facts, self.profiles, circumstances)

    def fold_reports(self) -> None:
        for report in self.unfolded:
            self.facts.fold(report, len(self.outcomes), at(self.minute))
            self.outcomes.append(report)
        self.unfolded = []

    def look(self) -> Plan:
        """Decide, apply and report until there is nothing left to do; the first plan."""
        first = None
        for _ in range(12):
            decided = self.decide()
            self.plans.append(decided)
            first = first or decided
            self.look_again = decided.look_again
            for write in decided.writes:
                self.apply(write)
            self.unfolded = [*decided.reports]
            if self.folding:
                self.fold_reports()
            if not decided.writes and (not decided.reports or not self.folding):
                return first
        raise AssertionError(f"it does not come to rest: {decided}")

    def ask(self, *requests: ScaleRequest) -> None:
        for request in requests:
            self.log.append(request, self.minute)
        self.look()

    def until(self, minute: float) -> None:
        """Let time pass, event by event."""
        while True:
            firing = {name: fires for name, cron in self.crons.items() if (fires := self.fires_at(cron)) is not None}
            ends = [
                minute_of(datetime.fromisoformat(one["status"]["startedAt"])) + self.run_minutes
                for one in self.workflows.values()
                if one["status"]["phase"] == "Running"
            ]
            looks = [minute_of(self.look_again)] if self.look_again is not None else []
            then = min([*firing.values(), *ends, *looks], default=minute)
            if then > minute or (not firing and not ends and not looks):
                self.minute = minute
                return
            self.minute = max(then, self.minute)
            changed = self.controller()
            changed |= self.fire([name for name, fires in firing.items() if fires == self.minute])
            if changed or (looks and looks[0] <= self.minute):
                self.look()

    # -- asking about it --

    def level(self) -> int | None:
        return self.began[-1].level if self.began else None

    def kinds(self, subject_part="") -> list[str]:
        return [str(outcome.kind) for outcome in self.outcomes if subject_part in outcome.subject]

    def problems(self) -> set[str]:
        """The codes of the problems that are open."""
        return {fact.outcome.code for fact in self.facts.by_subject.values() if fact.state == "OPEN"}


def stamp(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
