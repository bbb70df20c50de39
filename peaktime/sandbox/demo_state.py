"""What the demo has seen on the topics, and what must still come before all is quiet.

For: waiting by conditions instead of by time. It asks the same pure functions that the workers ask, about its own
copies of what is on the log. Must not: read a topic or the cluster itself, or decide anything that has an effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from peaktime.core.actions import Circumstances, Observed, Plan, Start
from peaktime.core.calendars import requests_of
from peaktime.core.desired import desired
from peaktime.core.evidence import ours
from peaktime.core.messages import (
    notification_of_dead_letter,
    notifications_of_calendar,
    notifications_of_entry,
    notifications_of_fact,
)
from peaktime.core.outcomes import Facts
from peaktime.core.plan import plan
from peaktime.core.profiles import Profiles
from peaktime.core.requests import Entries
from peaktime.core.runs import TARGET, Manifest
from peaktime.sandbox.demo_topics import Seen
from schemas.records import (
    CalendarSnapshot,
    CalendarState,
    Delivery,
    Entry,
    Fact,
    Notification,
    ScaleRequest,
)

_ERRORS = "__connect.errors."


@dataclass
class Ledger:
    """Everything that was read from the topics, in the shape in which the workers hold it.

    Attributes:
        profiles: the configuration in force.
        circumstances: what plans need to know; ``now`` is replaced at each look.
        requests: by place on the log.
        verdicts: the entry as it was after the request at this place.
        snapshots: what the importer published, by calendar.
        states: what the calendars add up to.
        notifications: by id.
        delivered: ids of the notifications that reached the sink's channel.
        dead: the dead letters.
    """

    profiles: Profiles
    circumstances: Circumstances
    requests: dict[tuple[int, int], ScaleRequest] = field(default_factory=dict)
    verdicts: dict[tuple[int, int], Entry] = field(default_factory=dict)
    snapshots: dict[str, CalendarSnapshot] = field(default_factory=dict)
    states: dict[str, CalendarState] = field(default_factory=dict)
    notifications: dict[str, Notification] = field(default_factory=dict)
    delivered: set[str] = field(default_factory=set)
    dead: list[Seen] = field(default_factory=list)
    _entries: dict[str, Entries] = field(default_factory=dict)
    _facts: dict[str, Facts] = field(default_factory=dict)
    _owed: dict[str, str] = field(default_factory=dict)
    _given_up: set[tuple[int, int]] = field(default_factory=set)
    _request_ids: set[str] = field(default_factory=set)

    def add(self, seen: Seen) -> None:
        """Take one record."""
        match seen.record:
            case ScaleRequest() as request:
                self.requests[seen.place] = request
                self._request_ids.add(request.request_id)
            case Entry() as entry:
                self.verdicts[seen.partition, entry.position] = entry
                self._entries.setdefault(entry.target, Entries()).restore(entry)
                self._expect(notifications_of_entry(entry, ""))
            case Fact() as fact:
                self._facts.setdefault(fact.target, Facts()).restore(fact)
                self._expect(notifications_of_fact(fact, ""))
            case CalendarSnapshot() as snapshot:
                self.snapshots[snapshot.calendar_id] = snapshot
            case CalendarState() as state:
                self.states[state.calendar_id] = state
                self._expect(notifications_of_calendar(state, ""))
            case Notification() as notification:
                self.notifications[notification.notification_id] = notification
                self._owed.pop(notification.notification_id, None)
            case Delivery() as delivery:
                self.delivered.add(delivery.notification_id)
            case None if seen.topic == "dead-letters":
                self._dead_letter(seen)

    def entry(self, key: str) -> Entry | None:
        """An entry as it stands."""
        return next((entries.by_key[key] for entries in self._entries.values() if key in entries.by_key), None)

    def facts(self) -> Iterator[Fact]:
        """All facts as they stand."""
        for facts in self._facts.values():
            yield from facts.by_subject.values()

    def waiting_for(self, cluster: Cluster, now: datetime) -> str:
        """The first thing that must still come before all is quiet, in words; empty if all is.

        Args:
            cluster: what the cluster holds.
            now: by the sandbox clock (UTC).
        """
        unfolded = len(self.requests.keys() - self.verdicts.keys() - self._given_up)
        if unfolded:
            return f"verdicts on {unfolded} of {len(self.requests)} requests"
        calendars = self.snapshots.keys() - self.states.keys()
        if calendars:
            return f"the calendar {', '.join(sorted(calendars))} to be folded"
        unsent = [
            request
            for state in self.states.values()
            for request in requests_of(state)
            if request.request_id not in self._request_ids
        ]
        if unsent:
            return f"{len(unsent)} requests of calendars"
        for target in self._entries:
            wanted = self.plan_of(target, cluster, now)
            if wanted.writes:
                return f"{len(wanted.writes)} changes of the cluster"
            if wanted.reports:
                return f"{len(wanted.reports)} reports from the cluster"
        if self._owed:
            return f"{len(self._owed)} messages to be written"
        untold = len(self.notifications.keys() - self.delivered)
        return f"{untold} messages to be delivered" if untold else ""

    def starts_owed(self, cluster: Cluster, now: datetime) -> list[str]:
        """The Workflows that a worker would start itself at ``now`` (UTC), because their time is past."""
        return [
            write.manifest["metadata"]["name"]
            for target in self._entries
            for write in self.plan_of(target, cluster, now).writes
            if isinstance(write, Start)
        ]

    def plan_of(self, target: str, cluster: Cluster, now: datetime) -> Plan:
        """What a worker would do for a target at ``now`` (UTC)."""
        entries, facts = self._entries.get(target, Entries()), self._facts.get(target, Facts())
        want = desired(target, entries, facts, self.profiles, now, grace=self.circumstances.grace)
        seen = cluster.observed(target, want.runs)
        return plan(want, seen, entries, facts, self.profiles, replace(self.circumstances, now=now))

    def _expect(self, notifications: Iterable[Notification]) -> None:
        for notification in notifications:
            if notification.notification_id not in self.notifications:
                self._owed[notification.notification_id] = notification.headline

    def _dead_letter(self, seen: Seen) -> None:
        self.dead.append(seen)
        source = source_of(seen)
        if source is None:
            return
        topic, partition, offset = source
        if topic.endswith("requests.v1"):
            self._given_up.add((partition, offset))
        said = notification_of_dead_letter(
            topic,
            partition,
            offset,
            code="",
            reason="",
            stage="",
            key="",
            log_time=datetime.now(UTC),
        )
        self._expect((said,))


def source_of(letter: Seen) -> tuple[str, int, int] | None:
    """Where the record stands that a dead letter is about; None if it does not say."""
    topic = letter.headers.get(f"{_ERRORS}topic", "")
    partition, offset = (letter.headers.get(_ERRORS + name, "") for name in ("partition", "offset"))
    return (topic, int(partition), int(offset)) if partition.isdecimal() and offset.isdecimal() else None


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a cluster holds, by name.

    Attributes:
        cron_workflows: the CronWorkflows.
        workflows: the Workflows.
    """

    cron_workflows: Mapping[str, Manifest]
    workflows: Mapping[str, Manifest]

    def observed(self, target: str, names: Iterable[str]) -> Observed:
        """What there is of a target, and what of others stands under these names."""
        wanted = set(names)
        return Observed(
            cron_workflows={
                name: obj
                for name, obj in self.cron_workflows.items()
                if _is_ours(obj, target) or (name in wanted and not ours(obj))
            },
            workflows={name: obj for name, obj in self.workflows.items() if _is_ours(obj, target)},
        )


def _is_ours(obj: Manifest, target: str) -> bool:
    return ours(obj) and (obj["metadata"].get("labels") or {}).get(TARGET) == target
