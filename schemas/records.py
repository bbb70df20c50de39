"""The records of the topics as typed Python values, one class for each record of ``schemas/avsc``.

Pure data: standard library only, no encoding, no I/O. Field names are the Avro names in snake_case; a unit test holds
every class against its ``.avsc``. Instants are aware datetimes in UTC; dates are local to the calendar's zone.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, cast

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Up to here (milliseconds) a float of the seconds is exact to the microsecond.
_EXACT = 4_000_000_000_000


def instant_of_millis(millis: int) -> datetime:
    """The instant so many milliseconds after 1970 (UTC).

    Raises:
        OverflowError: Python cannot express it.
    """
    if 0 <= millis < _EXACT:
        return datetime.fromtimestamp(millis / 1000, UTC)
    return EPOCH + timedelta(milliseconds=millis)


class RequestAction(StrEnum):
    """What a request asks for."""

    UNKNOWN = "UNKNOWN"
    SCALE_OUT = "SCALE_OUT"
    SCALE_IN = "SCALE_IN"
    DELETE = "DELETE"
    RERUN = "RERUN"
    PAUSE = "PAUSE"
    RESUME = "RESUME"


class VerdictKind(StrEnum):
    """What became of a request."""

    UNKNOWN = "UNKNOWN"
    ACCEPTED = "ACCEPTED"
    REPLACED = "REPLACED"
    DUPLICATE = "DUPLICATE"
    STALE = "STALE"
    WITHDRAWN = "WITHDRAWN"
    REJECTED = "REJECTED"


class OutcomeKind(StrEnum):
    """What a report about the cluster or the clock says."""

    UNKNOWN = "UNKNOWN"
    SCHEDULED = "SCHEDULED"
    STARTED = "STARTED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ENDED = "ENDED"
    MISSED = "MISSED"
    REMOVED = "REMOVED"
    PROBLEM_OPENED = "PROBLEM_OPENED"
    PROBLEM_CLOSED = "PROBLEM_CLOSED"
    SLOW = "SLOW"
    REMINDER = "REMINDER"
    DIGEST = "DIGEST"
    CALENDAR_STALE = "CALENDAR_STALE"
    CONFIGURED = "CONFIGURED"


class FactState(StrEnum):
    """Where the subject of outcomes stands."""

    UNKNOWN = "UNKNOWN"
    SCHEDULED = "SCHEDULED"
    STARTED = "STARTED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ENDED = "ENDED"
    MISSED = "MISSED"
    REMOVED = "REMOVED"
    OPEN = "OPEN"
    CLOSED = "CLOSED"
    TOLD = "TOLD"


class NotificationKind(StrEnum):
    """Which message people get."""

    UNKNOWN = "UNKNOWN"
    ACCEPTED = "ACCEPTED"
    REPLACED = "REPLACED"
    STALE = "STALE"
    WITHDRAWN = "WITHDRAWN"
    REJECTED = "REJECTED"
    SCHEDULED = "SCHEDULED"
    STARTED = "STARTED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ENDED = "ENDED"
    MISSED = "MISSED"
    REMOVED = "REMOVED"
    PROBLEM_OPENED = "PROBLEM_OPENED"
    PROBLEM_CLOSED = "PROBLEM_CLOSED"
    SLOW = "SLOW"
    REMINDER = "REMINDER"
    DIGEST = "DIGEST"
    CALENDAR_CHANGED = "CALENDAR_CHANGED"
    CALENDAR_REFUSED = "CALENDAR_REFUSED"
    CALENDAR_STALE = "CALENDAR_STALE"
    CONFIGURED = "CONFIGURED"
    DEAD_LETTER = "DEAD_LETTER"


class Severity(StrEnum):
    """How loud a notification is."""

    UNKNOWN = "UNKNOWN"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class PeakChangeKind(StrEnum):
    """What a snapshot changed about a peak."""

    UNKNOWN = "UNKNOWN"
    ADDED = "ADDED"
    MOVED = "MOVED"
    CHANGED = "CHANGED"
    WITHDRAWN = "WITHDRAWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleRequest:
    """One thing somebody asks for. See ``ScaleRequest.avsc`` for each field."""

    request_id: str
    action: RequestAction = RequestAction.UNKNOWN
    target: str
    day: str = "common"
    band: str = "common"
    event_date: str
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    title: str = ""
    description: str = ""
    owner: str = ""
    origin: str = "pa"
    requested_at: datetime
    revision: int | None = None
    group: str | None = None
    run: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One accepted action of an event, as it is wanted now."""

    request_id: str
    day: str = "common"
    band: str = "common"
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    ended_at: datetime | None = None
    title: str = ""
    description: str = ""
    owner: str = ""
    requested_at: datetime
    revision: int | None = None
    group: str | None = None
    position: int
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """The withdrawal of an event."""

    request_id: str
    title: str = ""
    owner: str = ""
    requested_at: datetime
    position: int
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedWindow:
    """A window that was cut short while it was open, at the log time of a request."""

    starts_at: datetime
    closed_at: datetime
    end_stated: bool
    scale_out: Action
    scale_in: Action | None = None
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """An operator asked for a run once more."""

    request_id: str
    run: str
    owner: str = ""
    why: str = ""
    position: int
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """An operator paused the target."""

    request_id: str
    owner: str = ""
    why: str = ""
    requested_at: datetime
    position: int
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that changed."""

    field: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a request, and why."""

    kind: VerdictKind = VerdictKind.UNKNOWN
    code: str = ""
    reason: str = ""
    request: ScaleRequest
    changes: tuple[Change, ...] = ()
    previous_owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Everything asked for one event; the record is the decision."""

    target: str
    origin: str = "pa"
    event_date: str
    position: int
    log_time: datetime
    rules: int = 1
    scale_out: Action | None = None
    scale_in: Action | None = None
    deletion: Deletion | None = None
    closed: tuple[ClosedWindow, ...] = ()
    scale_out_ids: tuple[str, ...] = ()
    scale_in_ids: tuple[str, ...] = ()
    delete_ids: tuple[str, ...] = ()
    rerun: Rerun | None = None
    pause: Pause | None = None
    rerun_ids: tuple[str, ...] = ()
    pause_ids: tuple[str, ...] = ()
    resume_ids: tuple[str, ...] = ()
    verdict: Verdict

    @property
    def key(self) -> str:
        """The entry's key, as in its topic."""
        return entry_key(self.target, self.origin, self.event_date)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A report about the cluster or the clock."""

    outcome_id: str
    kind: OutcomeKind = OutcomeKind.UNKNOWN
    subject: str
    target: str
    at: datetime
    entry: str = ""
    origin: str = ""
    event_date: str = ""
    request_id: str = ""
    title: str = ""
    owner: str = ""
    action: RequestAction = RequestAction.UNKNOWN
    day: str = ""
    band: str = ""
    level: int | None = None
    namespace: str = ""
    cron_workflow: str = ""
    workflow: str = ""
    fires_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    code: str = ""
    message: str = ""
    link: str = ""
    position: int = -1
    reporter: str = ""
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What the outcomes about one subject add up to."""

    subject: str
    target: str
    position: int
    log_time: datetime
    rules: int = 1
    state: FactState = FactState.UNKNOWN
    episode: int = 1
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    slow: bool = False
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationField:
    """A labelled value in a notification."""

    name: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What people are told."""

    notification_id: str
    kind: NotificationKind = NotificationKind.UNKNOWN
    severity: Severity = Severity.INFO
    thread: str
    target: str = ""
    entry: str = ""
    request_id: str = ""
    headline: str
    text: str = ""
    fields: tuple[NotificationField, ...] = ()
    link: str = ""
    decided_at: datetime
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A notification reached people."""

    notification_id: str
    thread: str = ""
    sink: str = ""
    channel: str = ""
    ts: str = ""
    thread_ts: str = ""
    delivered_at: datetime
    attempts: int = 1
    permalink: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarDay:
    """One special day of a feed."""

    date: date
    name: str = ""
    kind: str = "public"


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarSnapshot:
    """What a holiday feed says now, with the calendar's own settings."""

    calendar_id: str
    taken_at: datetime
    source: str = ""
    taken_by: str = ""
    zone: str = "Asia/Seoul"
    covers_from: date
    covers_to: date
    days: tuple[CalendarDay, ...] = ()
    target: str
    weekdays_off: tuple[str, ...] = ()
    peak_day: str = "holiday"
    peak_band: str = "morning"
    scale_in_day: str = "holiday"
    scale_in_band: str = "morning"
    peak_start: str = "07:30"
    peak_minutes: int = 270
    horizon_days: int = 364
    minimum_length: int = 1
    bridge_days: bool = False
    extra_closing_days: tuple[date, ...] = ()
    leave_out: tuple[date, ...] = ()
    owner: str = ""
    fingerprint: str = ""
    accepted_by: str = ""
    accepted_why: str = ""
    refused: str = ""
    refused_code: str = ""
    stale_after_minutes: int = 1440


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The first working day after a run of days off, and the requests that follow from it."""

    event_date: date
    run_start: date
    run_end: date
    holidays: tuple[CalendarDay, ...] = ()
    rule: str = ""
    withdrawn: bool = False
    position: int
    requests: tuple[ScaleRequest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakChange:
    """What a snapshot changed about a peak."""

    kind: PeakChangeKind = PeakChangeKind.UNKNOWN
    before: date | None = None
    after: date | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarState:
    """What a calendar adds up to."""

    calendar_id: str
    position: int
    log_time: datetime
    rules: int = 1
    fingerprint: str = ""
    target: str = ""
    good_at: datetime | None = None
    refused: str = ""
    peaks: tuple[Peak, ...] = ()
    changes: tuple[PeakChange, ...] = ()
    refused_told: tuple[str, ...] = ()
    stale_after_minutes: int = 1440


Record = ScaleRequest | Entry | Outcome | Fact | Notification | Delivery | CalendarSnapshot | CalendarState
#: The records that are values of topics; their class names are the schemas' names.
RECORDS: tuple[type[Record], ...] = (
    ScaleRequest,
    Outcome,
    Entry,
    Fact,
    Notification,
    Delivery,
    CalendarSnapshot,
    CalendarState,
)


def entry_key(target: str, origin: str, event_date: str) -> str:
    """``target/origin/eventDate``; a slash inside a part (only possible in a rejected request) is written ``%2F``."""
    plain = f"{target}/{origin}/{event_date}"
    if "%" not in plain and plain.count("/") == 2:  # noqa: PLR2004  (the two that part the three)
        return plain
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in (target, origin, event_date))


def avro_name(name: str) -> str:
    """``starts_at`` → ``startsAt``."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


_Convert = Callable[[Any], Any]
R = TypeVar("R")


@cache
def setters(cls: Any) -> dict[str, Callable[[Any, Any], None]]:
    """By name, what sets each field of a record that was just made, in order; no one else may: records are frozen."""
    return {f.name: getattr(cls, f.name).__set__ for f in fields(cls)}


@cache
def _copier(cls: Any) -> tuple[Callable[[Any], Any], dict[str, Callable[[Any, Any], None]]]:
    """What copies a record of a class, and what sets its fields."""
    known = setters(cls)
    lines = ["def copied(record):", "    made = new(cls)", *(f"    set_{name}(made, record.{name})" for name in known)]
    space: dict[str, Any] = {"new": cls.__new__, "cls": cls, **{f"set_{name}": put for name, put in known.items()}}
    # Made as dataclasses make their methods: the text holds nothing but names of fields.
    exec("\n".join((*lines, "    return made")), space)  # noqa: S102  (see above)
    return space["copied"], known


def replace(record: R, /, **changes: Any) -> R:
    """The record with other values in some fields: ``dataclasses.replace``, at a third of its price.

    Raises:
        KeyError: there is no such field.
    """
    cls: Any = type(record)
    copied, known = _copier(cls)
    made = copied(record)
    for name, value in changes.items():
        known[name](made, value)
    return cast("R", made)


def _same(value: Any) -> Any:
    return value


def _both(hint: Any) -> tuple[_Convert, _Convert]:
    """The converters of one field type: to the values fastavro takes, and back from those that it gives."""
    origin = typing.get_origin(hint)
    if origin is types.UnionType or origin is typing.Union:
        (inner,) = (arg for arg in typing.get_args(hint) if arg is not types.NoneType)
        down, up = _both(inner)
        if down is _same and up is _same:
            return _same, _same
        return (lambda v: None if v is None else down(v)), (lambda v: None if v is None else up(v))
    if origin is tuple:
        down, up = _both(typing.get_args(hint)[0])
        return (lambda v: [down(x) for x in v]), (lambda v: tuple([up(x) for x in v]))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return str, lambda v: hint.__members__.get(v, hint("UNKNOWN"))
    if is_dataclass(hint):
        return _of(hint)
    return _same, _same


@cache
def _converters(cls: Any) -> tuple[_Convert, _Convert]:
    hints = typing.get_type_hints(cls)
    parts = [(f.name, avro_name(f.name), *_both(hints[f.name])) for f in fields(cls)]

    def down(value: Any) -> dict[str, Any]:
        return {avro: convert(getattr(value, name)) for name, avro, convert, _ in parts}

    def up(value: dict[str, Any]) -> Any:
        return cls(**{name: convert(value[avro]) for name, avro, _, convert in parts if avro in value})

    return down, up


def _of(cls: Any) -> tuple[_Convert, _Convert]:
    return _converters(cls)


def to_avro(record: Any) -> dict[str, Any]:
    """The record as the nested dict that fastavro writes."""
    return cast("dict[str, Any]", _of(type(record))[0](record))


def from_avro(cls: type[R], value: dict[str, Any]) -> R:
    """The typed record of a dict that fastavro read; an enum symbol of a newer version becomes ``UNKNOWN``."""
    return cast("R", _of(cls)[1](value))
