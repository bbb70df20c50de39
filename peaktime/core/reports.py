"""Outcomes that are owed: how a plan words what it saw.

Pure: standard library, ``schemas.records`` and the core only. It decides what a report says, not whether one is owed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from peaktime.core.actions import Circumstances
from peaktime.core.evidence import instant_of, time_of
from peaktime.core.outcomes import Facts, report_id, run_subject
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
)
from schemas.records import Outcome, OutcomeKind, RequestAction

_LONGEST_MESSAGE = 4000


@dataclass(slots=True, kw_only=True)
class Reports:
    """The reports of one plan, in order.

    Attributes:
        target: the target.
        position: its folded position.
        entries: its entries.
        facts: its facts.
        at: the circumstances.
        owed: what is reported.
    """

    target: str
    position: int
    entries: Entries
    facts: Facts
    at: Circumstances
    owed: list[Outcome] = field(default_factory=list)

    def report(
        self,
        base: Outcome,
        kind: OutcomeKind,
        *,
        at: datetime,
        started_at: datetime | None = None,
        message: str = "",
        identity: str = "",
    ) -> None:
        """Owe a report.

        Args:
            base: what it is about.
            kind: what it says.
            at: when that was so (UTC).
            started_at: when the run began, if that is news (UTC).
            message: in words; of a very long one the beginning, since what was written into a status has no bounds.
            identity: what tells it from another report of the kind against the same fact; mostly nothing.
        """
        link = self.at.link_template.format(namespace=base.namespace, workflow=base.workflow) if base.workflow else ""
        fact = self.facts.by_subject.get(base.subject)
        self.owed.append(
            replace(
                base,
                outcome_id=report_id(base.subject, kind, fact, identity),
                kind=kind,
                at=at,
                started_at=started_at or base.started_at,
                message=_cut(message),
                position=self.position,
                reporter=self.at.reporter,
                link=link,
            ),
        )

    def blank(self, subject: str, entry_key: str = "") -> Outcome:
        """What a report about anything but a run begins with."""
        entry = self.entries.by_key.get(entry_key)
        return Outcome(
            outcome_id="",
            subject=subject,
            target=self.target,
            at=self.at.now,
            entry=entry_key,
            origin=entry.origin if entry else "",
            event_date=entry.event_date if entry else "",
        )

    def about(self, child: str, obj: Manifest) -> Outcome:
        """What there is to say about a run that was seen: what the object says of itself, else what is known of it.

        Args:
            child: name of the run's Workflow.
            obj: the Workflow, or the CronWorkflow that says that it began.
        """
        metadata = obj["metadata"]
        marks, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
        fact = self.facts.by_subject.get(run_subject(child))
        level = marks.get(LEVEL, "")
        if fact is not None and not level.isdecimal():
            return fact.outcome
        name, _, _ = child.rpartition("-")
        return replace(
            self.blank(run_subject(child), notes.get(ENTRY, "")),
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

    def about_run(self, run: Run) -> Outcome:
        """What there is to say about a run that is wanted."""
        return replace(
            self.blank(run.subject, run.entry.key),
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


def _cut(message: str) -> str:
    if len(message) <= _LONGEST_MESSAGE:
        return message
    return f"{message[:_LONGEST_MESSAGE]}… ({len(message)} characters)"
