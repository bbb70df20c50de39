"""What the demo came to, counted from the topics alone, and whether it adds up.

Pure: records in, plain values out, in a stable order. ``docs/demo.md`` explains every field. Must not: read anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from peaktime.core.outcomes import BEGUN, is_run
from peaktime.core.runs import ACTION, ENTRY, FIRES_AT, TITLE, Manifest
from peaktime.sandbox.demo_state import source_of
from peaktime.sandbox.demo_topics import Seen
from schemas.records import (
    CalendarState,
    Delivery,
    Entry,
    Fact,
    FactState,
    Notification,
    NotificationKind,
    Outcome,
    OutcomeKind,
    RequestAction,
    ScaleRequest,
    VerdictKind,
)

_FORWARDED_FROM = "peaktime-forwarded-from"
_ACTIONS = {"create": RequestAction.SCALE_OUT, "delete": RequestAction.SCALE_IN}
_VERDICTS = [kind for kind in VerdictKind if kind is not VerdictKind.UNKNOWN]
_OVER = (FactState.SUCCEEDED, FactState.FAILED, FactState.ENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A body that never became a request."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """What the demo knows beside the topics.

    Attributes:
        pa: where the bodies came from.
        feed: where the holidays came from.
        bodies: how many bodies there were.
        published: how many of them were acknowledged by the broker.
        refused: the others.
        planned: the CronWorkflows as they stood before the clock was put forward.
        live: names of the CronWorkflows in the cluster at the end.
        workflows: names of the Workflows in the cluster at the end.
        began: when the demo began (aware).
        clock: what the sandbox clock shows at the end (aware).
        seconds: how long it took.
        zone: IANA zone of the dates.
        faults: what went wrong that the topics do not tell.
    """

    pa: str
    feed: str
    bodies: int
    published: int
    refused: Sequence[Refused]
    planned: Mapping[str, Manifest]
    live: frozenset[str]
    workflows: frozenset[str]
    began: datetime
    clock: datetime
    seconds: float
    zone: str
    faults: Sequence[str] = ()


@dataclass
class _Topics:
    """The records, sorted by what they are."""

    requests: list[Seen] = field(default_factory=list)
    verdicts: list[Entry] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    facts: dict[str, Fact] = field(default_factory=dict)
    calendars: dict[str, CalendarState] = field(default_factory=dict)
    notifications: list[Notification] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    dead: list[Seen] = field(default_factory=list)
    unreadable: list[Seen] = field(default_factory=list)

    def add(self, seen: Seen) -> None:
        match seen.record:
            case ScaleRequest():
                self.requests.append(seen)
            case Entry() as entry:
                self.verdicts.append(entry)
                self.entries[entry.key] = entry
            case Outcome() as outcome:
                self.outcomes.append(outcome)
            case Fact() as fact:
                self.facts[fact.subject] = fact
            case CalendarState() as state:
                self.calendars[state.calendar_id] = state
            case Notification() as notification:
                self.notifications.append(notification)
            case Delivery() as delivery:
                self.deliveries.append(delivery)
            case _ if seen.topic == "dead-letters":
                self.dead.append(seen)
            case _ if seen.unreadable:
                self.unreadable.append(seen)


def summarise(records: Iterable[Seen], finish: Finish) -> dict[str, Any]:
    """The summary as it is written to ``summary.json``.

    Args:
        records: everything on the topics, each partition in order.
        finish: what else is known.
    """
    topics = _Topics()
    for seen in records:
        topics.add(seen)
    runs = [fact for fact in topics.facts.values() if is_run(fact)]
    verdicts = Counter(entry.verdict.kind for entry in topics.verdicts)
    forwarded = sum(1 for seen in topics.requests if _FORWARDED_FROM in seen.headers)
    origins = Counter("calendars" if seen.record.group else "pa" for seen in topics.requests)
    summary: dict[str, Any] = {
        "ok": True,
        "faults": [],
        "began": _stamp(finish.began),
        "seconds": round(finish.seconds, 1),
        "zone": finish.zone,
        "clock": {"end": _stamp(finish.clock), "forwardSeconds": _forward(finish)},
        "inputs": {
            "pa": finish.pa,
            "feed": finish.feed,
            "bodies": finish.bodies,
            "published": finish.published,
            "refusedAtGateway": len(finish.refused),
        },
        "refused": [{"file": one.file, "reason": one.reason} for one in finish.refused],
        "requests": {"total": len(topics.requests), "fromPa": origins["pa"], "fromCalendars": origins["calendars"]},
        "verdicts": {str(kind): verdicts[kind] for kind in _VERDICTS},
        "forwarded": forwarded,
        "deadLetters": len(topics.dead),
        "events": [_event(entry, topics, runs) for entry in sorted(topics.entries.values(), key=_by_date)],
        "eventsLive": sum(1 for entry in topics.entries.values() if entry.scale_out or entry.scale_in),
        "calendars": [
            {"id": state.calendar_id, "target": state.target, "refused": state.refused}
            for state in sorted(topics.calendars.values(), key=_by_id)
        ],
        "peaks": [peak for state in sorted(topics.calendars.values(), key=_by_id) for peak in _peaks(state)],
        "cronWorkflows": sorted((_planned(obj, topics) for obj in finish.planned.values()), key=_by_firing),
        "cronWorkflowCounts": _cron_counts(topics, runs, finish),
        "runs": _run_counts(runs),
        "notifications": _notification_counts(topics),
        "deliveries": len({one.notification_id for one in topics.deliveries}),
        "problems": sorted(
            fact.outcome.message
            for fact in topics.facts.values()
            if fact.subject.startswith("problem/") and fact.state is FactState.OPEN
        ),
    }
    summary["faults"] = _faults(summary, topics, runs, finish)
    summary["ok"] = not summary["faults"]
    return summary


def _faults(summary: Mapping[str, Any], topics: _Topics, runs: Sequence[Fact], finish: Finish) -> list[str]:
    """What does not add up, in words."""
    faults = list(finish.faults)
    total, judged = len(topics.requests), sum(summary["verdicts"].values())
    dead = sum(1 for letter in topics.dead if (source_of(letter) or ("",))[0].endswith("requests.v1"))
    if total != judged + summary["forwarded"] + dead:
        told = f"{judged} verdicts, {summary['forwarded']} forwarded, {dead} dead letters"
        faults.append(f"{total} requests came in, but there are {told}")
    if summary["requests"]["fromPa"] != finish.published:
        faults.append(
            f"{finish.published} bodies were published, but {summary['requests']['fromPa']} requests are there",
        )
    if finish.published + len(finish.refused) != finish.bodies:
        faults.append(f"of {finish.bodies} bodies {finish.published} were published and {len(finish.refused)} refused")
    faults += [f"a record became a dead letter: {_reason(letter)}" for letter in topics.dead]
    faults += [f"a record of {seen.topic} cannot be read: {seen.unreadable}" for seen in topics.unreadable]
    known = {one.notification_id for one in topics.notifications}
    untold = known - {one.notification_id for one in topics.deliveries}
    if untold:
        faults.append(f"{len(untold)} messages were not delivered")
    for fact in runs:
        faults += _run_faults(fact, finish)
    return faults


def _run_faults(fact: Fact, finish: Finish) -> list[str]:
    run, cron = fact.subject.removeprefix("run/"), fact.outcome.cron_workflow
    if fact.state is FactState.FAILED:
        return [f"the run {run} failed: {fact.outcome.message}"]
    if fact.state is FactState.MISSED:
        return [f"the run {run} was due and did not start"]
    faults = []
    if fact.state in _OVER and run not in finish.workflows:
        faults.append(f"the Workflow {run} of a run that is over is not in the cluster")
    if fact.state in _OVER and cron in finish.live:
        faults.append(f"the CronWorkflow {cron} of a run that is over is still in the cluster")
    if fact.state is FactState.SCHEDULED and cron not in finish.live:
        faults.append(f"the CronWorkflow {cron} should be in the cluster and is not")
    return faults


def _event(entry: Entry, topics: _Topics, runs: Sequence[Fact]) -> dict[str, Any]:
    stated = (entry.scale_out, entry.scale_in, entry.deletion, entry.verdict.request)
    title = next((one.title for one in stated if one is not None and one.title), "")
    owner = next((one.owner for one in stated if one is not None and one.owner), "")
    starts = entry.scale_out.starts_at if entry.scale_out else None
    ends = [one.ends_at for one in (entry.scale_out, entry.scale_in) if one is not None and one.ends_at is not None]
    return {
        "key": entry.key,
        "target": entry.target,
        "origin": entry.origin,
        "eventDate": entry.event_date,
        "title": title,
        "owner": owner,
        "state": _state(entry, [fact for fact in runs if fact.outcome.entry == entry.key]),
        "startsAt": _stamp(starts) if starts else None,
        "endsAt": _stamp(ends[-1]) if ends else None,
        "verdicts": [
            {
                "verdict": str(one.verdict.kind),
                "action": str(one.verdict.request.action),
                "requestId": one.verdict.request.request_id,
                "reason": one.verdict.reason,
            }
            for one in topics.verdicts
            if one.key == entry.key
        ],
    }


def _state(entry: Entry, runs: Sequence[Fact]) -> str:
    states = {fact.state for fact in runs}
    if entry.scale_out is None and entry.scale_in is None:
        return "withdrawn" if entry.deletion is not None else "rejected"
    if states & {FactState.FAILED, FactState.MISSED}:
        return "failed"
    begun = bool(states & BEGUN)
    if states & {FactState.SCHEDULED, FactState.STARTED}:
        return "running" if begun else "planned"
    return "done" if begun else "nothing to run"


def _peaks(state: CalendarState) -> list[dict[str, Any]]:
    return [
        {
            "calendar": state.calendar_id,
            "date": peak.event_date.isoformat(),
            "title": next((request.title for request in peak.requests if request.title), ""),
            "runStart": peak.run_start.isoformat(),
            "runEnd": peak.run_end.isoformat(),
            "daysOff": (peak.run_end - peak.run_start).days + 1,
            "holidays": [{"date": day.date.isoformat(), "name": day.name} for day in peak.holidays],
        }
        for peak in state.peaks
        if not peak.withdrawn
    ]


def _planned(obj: Manifest, topics: _Topics) -> dict[str, Any]:
    metadata, spec = obj["metadata"], obj["spec"]
    notes = metadata.get("annotations") or {}
    entry = topics.entries.get(notes.get(ENTRY, ""))
    return {
        "name": metadata["name"],
        "schedule": ", ".join(spec["schedules"]),
        "timezone": spec.get("timezone", "UTC"),
        "firesAt": notes.get(FIRES_AT, ""),
        "action": str(_ACTIONS.get((metadata.get("labels") or {}).get(ACTION, ""), RequestAction.UNKNOWN)),
        "eventDate": entry.event_date if entry else "",
        "title": notes.get(TITLE, ""),
        "entry": notes.get(ENTRY, ""),
    }


def _cron_counts(topics: _Topics, runs: Sequence[Fact], finish: Finish) -> dict[str, int]:
    created = {o.cron_workflow for o in topics.outcomes if o.kind is OutcomeKind.SCHEDULED}
    waiting = {fact.outcome.cron_workflow for fact in runs if fact.state in (FactState.SCHEDULED, FactState.STARTED)}
    over = {fact.outcome.cron_workflow for fact in runs if fact.state in _OVER}
    return {
        "planned": len(finish.planned),
        "created": len(created),
        "stillScheduled": len(created & waiting),
        "removedAfterRun": len((created & over) - waiting),
        "removedWithoutRun": len(created - waiting - over),
    }


def _run_counts(runs: Sequence[Fact]) -> dict[str, int]:
    states = Counter(fact.state for fact in runs)
    return {
        "started": sum(states[state] for state in BEGUN),
        "succeeded": states[FactState.SUCCEEDED],
        "failed": states[FactState.FAILED],
        "goingOn": states[FactState.STARTED],
        "resultUnknown": states[FactState.ENDED],
        "missed": states[FactState.MISSED],
    }


def _notification_counts(topics: _Topics) -> dict[str, int]:
    by_id = {one.notification_id: one.kind for one in topics.notifications}
    kinds = Counter(by_id.values())
    return {str(kind): kinds[kind] for kind in NotificationKind if kinds[kind]}


def _reason(letter: Seen) -> str:
    return letter.headers.get("__connect.errors.exception.message") or letter.headers.get("peaktime-reason", "unknown")


def _stamp(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _forward(finish: Finish) -> int:
    return max(0, round((finish.clock - finish.began).total_seconds() - finish.seconds))


def _by_date(entry: Entry) -> tuple[str, str]:
    return entry.event_date, entry.key


def _by_id(state: CalendarState) -> str:
    return state.calendar_id


def _by_firing(planned: Mapping[str, Any]) -> tuple[str, str]:
    return planned["firesAt"], planned["name"]
