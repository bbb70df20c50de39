"""Each event's story: what was asked and decided, what was reported, and what people were told, in order of log time.

Pure. It keeps what it tells, so it is given only what is asked for. Must not: read the log, or decide anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from peaktime.core import wording
from peaktime.core.requests import canonical_event_date
from processors.replay.log import Offsets, Raw
from processors.replay.refold import Fate, Step
from schemas.records import CalendarState, Change, Delivery, Entry, Notification, Outcome, ScaleRequest

_SLASHES = 2
#: Lines of one instant: first what was asked, then what was told about it.
_RANK = {"request": 0, "outcome": 1, "notification": 2, "delivery": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that happened.

    Attributes:
        at: its log time (UTC); a delivery's is the sink's clock.
        kind: request, outcome, notification or delivery.
        what: the verdict, the outcome's or notification's kind, or the sink.
        text: for people.
        place: where it stands, ``topic/partition/offset``.
        who: who asked; empty if nobody did.
        details: more, by name; for programs.
    """

    at: datetime
    kind: str
    what: str
    text: str
    place: str
    who: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def shown(self, zone: str) -> str:
        """``Mon 2026-05-04 09:00:12  request       accepted   …``."""
        return f"{wording.instant(self.at, zone):<24}{self.kind:<14}{self.what:<16}{self.text}"


@dataclass(slots=True, kw_only=True)
class Story:
    """One event.

    Attributes:
        key: the entry's key, ``target/origin/eventDate``.
        title: what people call it.
        state: whether its entry is as the one on the log: equal, different, other rules; empty where that is not known.
        lines: what happened, in order.
    """

    key: str
    title: str = ""
    state: str = ""
    lines: list[Line] = field(default_factory=list)

    def ordered(self) -> list[Line]:
        """The lines by time; of one instant the cause before what followed."""
        return sorted(self.lines, key=lambda line: (line.at, _RANK[line.kind], _place_order(line.place)))


class Stories:
    """Collects the stories of the events that are asked for.

    Args:
        wanted: whether an entry key is asked for.
        zone: IANA zone in which instants are written.
        until: nothing is told that came about later, or of what is beyond these offsets; None for all.
        since: no message is told about what came about earlier; None for all.
    """

    def __init__(
        self,
        wanted: Callable[[str], bool],
        zone: str,
        until: datetime | Offsets | None = None,
        since: datetime | None = None,
    ) -> None:
        self._wanted, self._zone, self._until = wanted, zone, until if isinstance(until, datetime) else None
        self._since = since
        # What is told comes before what is folded, so it can be held against the offsets at the end only.
        self._folded_only = isinstance(until, Offsets)
        self._stories: dict[str, Story] = {}
        self._threads: dict[str, str] = {}

    def step(self, step: Step) -> None:
        """Take a folded record of requests or outcomes."""
        if isinstance(step.record, Outcome):
            if step.changes and step.record.entry and self._wanted(step.record.entry):
                self._of(step.record.entry).lines.append(_outcome_line(step, step.record, self._zone))
            return
        for key, entry in step.changes.items():
            if isinstance(entry, Entry) and self._wanted(key):
                story = self._of(key)
                story.title = entry.verdict.request.title or story.title
                story.lines.append(_request_line(step, entry, self._zone))

    def notification(self, raw: Raw, notification: Notification) -> None:
        """Take a notification; one that came twice is told once."""
        key = notification.entry
        if not key or not self._wanted(key) or notification.notification_id in self._threads:
            return
        if self._until is not None and notification.decided_at > self._until:
            return
        if self._since is not None and notification.decided_at < self._since:
            return
        self._threads[notification.notification_id] = key
        self._of(key).lines.append(
            Line(
                at=notification.decided_at,
                kind="notification",
                what=notification.kind.lower(),
                text=notification.headline,
                place=str(raw.place),
                details={"id": notification.notification_id, "body": notification.text, "source": notification.source},
            ),
        )

    def delivery(self, raw: Raw, delivery: Delivery) -> None:
        """Take a delivery; after the notifications."""
        key = self._threads.get(delivery.notification_id)
        if key is None or (self._until is not None and delivery.delivered_at > self._until):
            return
        self._of(key).lines.append(
            Line(
                at=delivery.delivered_at,
                kind="delivery",
                what=delivery.sink,
                text=delivery.permalink or f"{delivery.channel} {delivery.ts}".strip(),
                place=str(raw.place),
                details={"id": delivery.notification_id, "permalink": delivery.permalink, "channel": delivery.channel},
            ),
        )

    def _of(self, key: str) -> Story:
        return self._stories.setdefault(key, Story(key=key))

    def all(self) -> list[Story]:
        """The stories by key."""
        found = [self._stories[key] for key in sorted(self._stories)]
        if self._folded_only:
            found = [story for story in map(_without_what_is_beyond, found) if story.lines]
        return found


def _without_what_is_beyond(story: Story) -> Story:
    """The story without messages about records that were not folded, and without their deliveries."""
    folded = {line.place for line in story.lines if line.kind in ("request", "outcome")}
    told = {line.details["id"] for line in story.lines if line.details.get("source") in folded}
    lines = [line for line in story.lines if line.kind in ("request", "outcome") or line.details.get("id") in told]
    return replace(story, lines=lines)


def event_date_here(text: str, zone: str) -> str | None:
    """The canonical form of an event date in any form that requests take, also with an offset; None if it is none."""
    try:
        typed = datetime.fromisoformat(text)
        here = typed.astimezone(ZoneInfo(zone)).replace(tzinfo=None) if typed.tzinfo is not None else None
    except (ValueError, OverflowError):
        here = None
    return canonical_event_date(text if here is None else here.isoformat(timespec="minutes"))


def wanted_event(event: str | None, target: str | None, zone: str = "Asia/Seoul") -> Callable[[str], bool]:
    """Whether an entry key is meant by what somebody typed.

    Args:
        event: an entry key (``infra/pa/2026-05-04``), or an event date, in any form that requests take; None for all.
        target: only of this target; None for all.
        zone: IANA zone of event dates, for one that has an offset.
    """
    event = event.strip() if event is not None else None
    date = event_date_here(event, zone) if event is not None else None
    if event is not None and event.count("/") == _SLASHES:
        before, _, day = event.rpartition("/")
        event = f"{before}/{event_date_here(day, zone) or day}"

    def wanted(key: str) -> bool:
        if target is not None and key.partition("/")[0] != target:
            return False
        return event is None or key == event or (date is not None and key.rpartition("/")[2] == date)

    return wanted


def requests_told(request: ScaleRequest, zone: str) -> str:
    """A request in a few words: ``scale out infra-mon-night 'Spring sale', Mon 2026-05-04 09:00 to 12:00``."""
    action = request.action.lower().replace("_", " ")
    profile = wording.profile(request.target, request.day, request.band)
    what = f"{action} {profile if request.action.startswith('SCALE') else request.target}"
    span = wording.window(request.starts_at, request.ends_at, zone)
    return ", ".join(
        part for part in (f"{what} {wording.one_line(request.title)!r}" if request.title else what, span) if part
    )


def _request_line(step: Step, entry: Entry, zone: str) -> Line:
    verdict, request = entry.verdict, entry.verdict.request
    text = requests_told(request, zone)
    if verdict.changes:
        text += f" ({'; '.join(map(_change, verdict.changes))})"
    if verdict.previous_owner and verdict.previous_owner != request.owner:
        text += f", which was {verdict.previous_owner}'s"
    if verdict.reason:
        text += f": {verdict.reason}"
    return Line(
        at=step.log_time,
        kind="request",
        what=step.fate,
        text=text,
        place=str(step.place),
        who=request.owner,
        details={
            "requestId": request.request_id,
            "action": request.action.value,
            "owner": request.owner,
            "code": verdict.code,
            "reason": verdict.reason,
            "previousOwner": verdict.previous_owner,
            "rules": entry.rules,
        },
    )


def _change(change: Change) -> str:
    if not change.after:
        return f"no {change.field}, was {change.before}"
    return f"{change.field} {change.before} → {change.after}" if change.before else f"{change.field} {change.after}"


def _outcome_line(step: Step, outcome: Outcome, zone: str) -> Line:
    run = outcome.workflow or outcome.cron_workflow or outcome.subject
    due = f" due {wording.instant(outcome.fires_at, zone)}" if outcome.fires_at else ""
    said = f": {outcome.message}" if outcome.message else ""
    return Line(
        at=step.log_time,
        kind="outcome",
        what=outcome.kind.lower(),
        text=f"{run}{due}{said}",
        place=str(step.place),
        details={"subject": outcome.subject, "code": outcome.code, "link": outcome.link, "reporter": outcome.reporter},
    )


@dataclass(slots=True)
class Aside:
    """What belongs to no event: records that were forwarded or put aside, and what calendars changed.

    Attributes:
        lines: each as ``topic/partition/offset``, its fate, and why.
    """

    lines: list[tuple[str, str, str]] = field(default_factory=list)

    def step(self, step: Step) -> None:
        """Take a folded record."""
        if step.fate in (Fate.FORWARDED, Fate.DEAD_LETTERED):
            self.lines.append((str(step.place), step.fate, f"{step.code}: {step.reason}" if step.code else step.reason))
            return
        for row in step.changes.values():
            if isinstance(row, CalendarState):
                changes = "; ".join(_told(row)) or row.refused or "nothing changed"
                self.lines.append((str(step.place), "snapshot", f"calendar {row.calendar_id}: {changes}"))

    def ordered(self) -> list[tuple[str, str, str]]:
        """The lines by place."""
        return sorted(self.lines, key=lambda line: _place_order(line[0]))


def _told(state: CalendarState) -> Iterable[str]:
    for change in state.changes:
        dates = " → ".join(str(day) for day in (change.before, change.after) if day is not None)
        yield f"{change.kind.lower()} {dates}"


def _place_order(place: str) -> tuple[str, int, int]:
    topic, partition, offset = place.rsplit("/", 2)
    return topic, int(partition), int(offset)
