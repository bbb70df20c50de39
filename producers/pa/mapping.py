"""PA's endpoint names and bodies as requests.

For: the one place that knows what PA sends. Must not: read a clock or a file, talk to anything, or judge what the fold
judges (``peaktime.core.requests.refusal``); it refuses only what cannot be said as a request at all.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import cast
from zoneinfo import ZoneInfo

from peaktime.core.capacity import Band, Profiles
from peaktime.core.requests import DAYS
from peaktime.errors import RequestError
from schemas.records import RequestAction, ScaleRequest

EXAMPLE_BODY = '{"message": {"title": "Spring sale", "eventDate": "2026-05-04T09:00"}}'
_FORMS = "write it like 2026-05-04 or 2026-05-04T09:00"
_ENDPOINT_FORMS = "Use create-<target>-<day>-<band>, delete-<target>-<day>-<band> or event-delete-<target>"
_YEARS = range(2000, 2200)  # beyond them zones and instants stop being certain, and no event is meant
_MOST = 2**63 - 1  # an Avro long

_TARGET = re.compile(r"(?=.{1,30}$)[a-z](?:[-a-z0-9]*[a-z0-9])?")
_BAND = re.compile(r"[a-z0-9]{1,20}")
_MOMENT = re.compile(
    r"(?P<year>\d{4})(?P<hyphen>-?)(?P<month>\d{2})(?P=hyphen)(?P<day>\d{2})"
    r"(?:[Tt ]?(?P<hour>\d{2}):?(?P<minute>\d{2})(?::?(?P<second>\d{2}(?:\.\d+)?))?"
    r" ?(?P<offset>[Zz]|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What one of PA's endpoints stands for; a DELETE has the day and band ``common``, which mean nothing there."""

    action: RequestAction
    target: str
    day: str = "common"
    band: str = "common"

    @property
    def name(self) -> str:
        """The endpoint as PA writes it, without a slash."""
        if self.action is RequestAction.DELETE:
            return f"event-delete-{self.target}"
        verb = "create" if self.action is RequestAction.SCALE_OUT else "delete"
        return f"{verb}-{self.target}-{self.day}-{self.band}"


def parse_endpoint(name: str) -> Endpoint:
    """``create-infra-mon-night`` as an endpoint. Read from the right: only the target may contain hyphens.

    Raises:
        RequestError: it is none of PA's three forms.
    """
    bare = name.strip("/")
    if bare.startswith("event-delete-"):
        target = bare.removeprefix("event-delete-")
        if _TARGET.fullmatch(target):
            return Endpoint(action=RequestAction.DELETE, target=target)
        raise RequestError(f"endpoint {_shown(bare)}", f"{_shown(target)} cannot be a target", _ENDPOINT_FORMS)
    for verb, action in (("create-", RequestAction.SCALE_OUT), ("delete-", RequestAction.SCALE_IN)):
        if bare.startswith(verb):
            target, _, rest = bare.removeprefix(verb).rpartition("-")
            band = rest
            target, _, day = target.rpartition("-")
            if day in DAYS and _BAND.fullmatch(band) and _TARGET.fullmatch(target):
                return Endpoint(action=action, target=target, day=day, band=band)
            why = f"it does not end in a target, one of the days {', '.join(DAYS)}, and a band"
            raise RequestError(f"endpoint {_shown(bare)}", why, _ENDPOINT_FORMS)
    raise RequestError(f"endpoint {_shown(bare)}", "it is none of PA's endpoints", _ENDPOINT_FORMS)


def known_endpoints(profiles: Profiles) -> list[str]:
    """The names of all endpoints that the profiles answer for."""
    names = {f"event-delete-{profile.target}" for profile in profiles.by_name.values()}
    return sorted(f"{verb}-{name}" for name in profiles.by_name for verb in ("create", "delete")) + sorted(names)


def unknown(endpoint: Endpoint, profiles: Profiles) -> str | None:
    """Why no profile answers for the endpoint, naming those that there are; None if one does."""
    targets = sorted({profile.target for profile in profiles.by_name.values()})
    if endpoint.target not in targets:
        return f"there is no target {endpoint.target}; known are {', '.join(targets)}"
    whole = endpoint.action in (RequestAction.DELETE, RequestAction.PAUSE)
    if whole or profiles.find(endpoint.target, endpoint.day, endpoint.band):
        return None
    mine = [profile for profile in profiles.by_name.values() if profile.target == endpoint.target]
    bands = [band for band in profiles.bands if profiles.find(endpoint.target, endpoint.day, band)]
    if bands:
        return f"{endpoint.target} has no band {endpoint.band} on {endpoint.day}; known are {', '.join(bands)}"
    days = [day for day in DAYS if any(profile.day == day for profile in mine)]
    return f"{endpoint.target} has no day {endpoint.day}; known are {', '.join(days)}"


def canonical_event_date(value: object, zone: str) -> str:
    """The one form of an event date: ``2026-05-04``, or ``2026-05-04T09:00`` with an offset converted to ``zone``.

    Raises:
        RequestError: it is no date, or not a whole minute.
    """
    try:
        return _read_moment("eventDate", value, ZoneInfo(zone)).canonical
    except _RefusedError as refused:
        raise RequestError("eventDate", str(refused)) from None


def new_request_id() -> str:
    """A request id of its own. Never one made from the content: the same wish may be uttered twice."""
    return str(uuid.uuid4())


def request_from_pa(
    body: object,
    endpoint: Endpoint,
    *,
    profiles: Profiles,
    now: datetime,
    request_id: str | None = None,
    origin: str = "pa",
    new_id: Callable[[], str] = new_request_id,
) -> ScaleRequest:
    """The request that a body to one of PA's endpoints asks for.

    A scale-out without ``startsAt`` starts at its ``eventDate``, a scale-in without ``endsAt`` happens at its
    ``eventDate``. A date without a time is completed by the hours of the endpoint's band; an end that is not after
    the band's start is the next day's. Times without an offset are in the profiles' zone; of an hour that is there
    twice the first is meant. A ``requestedAt`` later than ``now`` counts as ``now``.

    Args:
        body: the parsed JSON. Keys that are not known are left out.
        endpoint: where it was sent.
        profiles: zone and bands; whether the profile exists is not judged here (`unknown`).
        now: when it arrived.
        request_id: wins over the body's ``requestId``; without either, ``new_id`` gives one.
        origin: ``pa``, or whom the events belong to.
        new_id: gives a fresh id.

    Raises:
        RequestError: with every reason, in words for the person who typed the event.
    """
    reader = _Reader(body, endpoint, profiles)
    event = reader.moment("eventDate", required=True)
    starts_at = ends_at = None
    if endpoint.action is not RequestAction.DELETE:
        first, last = reader.moment("startsAt"), reader.moment("endsAt")
        if endpoint.action is RequestAction.SCALE_OUT:
            first = first or event
        else:
            last = last or event
        starts_at, ends_at = reader.instant(first, is_end=False), reader.instant(last, is_end=True)
    title = reader.text("title", required=endpoint.action is not RequestAction.DELETE)
    description, owner = reader.text("description"), reader.text("owner")
    asked = reader.requested_at()
    stated_id = reader.request_id()
    revision = reader.revision()
    if reader.reasons or event is None:
        raise RequestError(endpoint.name, reader.reasons, f"Correct it and send it again, like {EXAMPLE_BODY}")
    return ScaleRequest(
        request_id=request_id or stated_id or new_id(),
        action=endpoint.action,
        target=endpoint.target,
        day=endpoint.day,
        band=endpoint.band,
        event_date=event.canonical,
        starts_at=starts_at,
        ends_at=ends_at,
        title=title,
        description=description,
        owner=owner,
        origin=origin,
        requested_at=_milliseconds(min(asked or now, now)),
        revision=revision,
    )


class _RefusedError(Exception):
    """Why one value cannot be taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """A local date, perhaps with a time; ``instant`` only if an offset pins it."""

    name: str
    day: date
    time: time | None
    instant: datetime | None

    @property
    def canonical(self) -> str:
        return self.day.isoformat() if self.time is None else f"{self.day.isoformat()}T{self.time:%H:%M}"


class _Reader:
    """Takes the fields of one body and gathers the reasons why it cannot be taken."""

    def __init__(self, body: object, endpoint: Endpoint, profiles: Profiles) -> None:
        self.reasons: list[str] = []
        self._profiles = profiles
        self._zone = ZoneInfo(profiles.zone)
        self._endpoint = endpoint
        message = cast("dict[object, object]", body).get("message") if isinstance(body, dict) else None
        self._message: dict[object, object] | None = message if isinstance(message, dict) else None
        if self._message is None:
            self.reasons.append(f'the body has no "message" with the event in it; send one like {EXAMPLE_BODY}')

    def _value(self, name: str, *, required: bool = False) -> object:
        """The field, or None if it is absent or empty: forms send empty texts for what nobody typed."""
        if self._message is None:
            return None
        value = self._message.get(name)
        if isinstance(value, str):
            value = value.strip() or None
        if value is None and required:
            self.reasons.append(f"{name} is missing")
        return value

    def text(self, name: str, *, required: bool = False) -> str:
        value = self._value(name, required=required)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.reasons.append(f"{name} must be text")
            return ""
        try:
            value.encode()
        except UnicodeEncodeError:
            self.reasons.append(f"{name} contains half a character; type it again")
        return value

    def moment(self, name: str, *, required: bool = False) -> _Moment | None:
        value = self._value(name, required=required)
        try:
            return None if value is None else _read_moment(name, value, self._zone)
        except _RefusedError as refused:
            self.reasons.append(str(refused))
            return None

    def instant(self, moment: _Moment | None, *, is_end: bool) -> datetime | None:
        """The moment on the time line; a date alone is completed by the band's hours."""
        if moment is None:
            return None
        if moment.instant is not None:
            return moment.instant
        if moment.time is not None:
            local = datetime.combine(moment.day, moment.time)
        else:
            band = self._profiles.bands.get(self._endpoint.band)
            if band is None:
                known = ", ".join(sorted(self._profiles.bands))
                why = f"{moment.name} has no time, and there is no band {self._endpoint.band} with hours to complete it"
                self.reasons.append(f"{why}; known are {known}")
                return None
            local = _completed(moment.day, band, is_end=is_end)
        instant = _on_time_line(local, self._zone)
        if instant is None:
            self.reasons.append(
                f"{moment.name} is {local:%Y-%m-%d %H:%M}, but clocks in {self._zone.key} skip that minute; "
                "choose another",
            )
        return instant

    def requested_at(self) -> datetime | None:
        value = self._value("requestedAt")
        if value is None:
            return None
        try:
            asked = datetime.fromisoformat(value) if isinstance(value, str) else None
        except ValueError:
            asked = None
        if asked is None or asked.year not in _YEARS:
            self.reasons.append(f"requestedAt {_shown(value)} is not a time; write it like 2026-05-04T09:00:00+09:00")
            return None
        return (asked if asked.tzinfo else asked.replace(tzinfo=self._zone)).astimezone(UTC)

    def request_id(self) -> str:
        value = self._value("requestId")
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST:
            return str(value)
        return self.text("requestId")

    def revision(self) -> int | None:
        value = self._value("revision")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
            self.reasons.append(f"revision {_shown(value)} is not a whole number from 0")
            return None
        return value


def _read_moment(name: str, value: object, zone: ZoneInfo) -> _Moment:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**14 else value
    found = _MOMENT.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise _RefusedError(f"{name} {_shown(value)} is not a date; {_FORMS}")
    try:
        day = date(int(found["year"]), int(found["month"]), int(found["day"]))
        clock = None if found["hour"] is None else time(int(found["hour"]), int(found["minute"]))
        offset = _offset(found["offset"])
    except ValueError:
        raise _RefusedError(f"{name} {_shown(value)} does not exist; {_FORMS}") from None
    if day.year not in _YEARS:
        raise _RefusedError(f"{name} {_shown(value)} is not within {_YEARS.start} to {_YEARS.stop - 1}")
    if (found["second"] or "").strip("0."):
        raise _RefusedError(f"{name} {_shown(value)} has seconds; only whole minutes can be planned")
    if clock is None or offset is None:
        return _Moment(name=name, day=day, time=clock, instant=None)
    instant = datetime.combine(day, clock, tzinfo=UTC) - offset
    local = instant.astimezone(zone)
    return _Moment(name=name, day=local.date(), time=local.time().replace(second=0, fold=0), instant=instant)


def _offset(text: str | None) -> timedelta | None:
    if text is None:
        return None
    if text in "Zz":
        return timedelta(0)
    hours, minutes = int(text[1:3]), int(text[3:].lstrip(":") or 0)
    if hours > 14 or minutes > 59:  # noqa: PLR2004  (its meaning stands beside it)
        raise ValueError(text)
    return timedelta(hours=hours, minutes=minutes) * (-1 if text[0] == "-" else 1)


def _completed(day: date, band: Band, *, is_end: bool) -> datetime:
    minute, days = band.start_minute, 0
    if is_end:
        minute, days = band.end_minute, int(band.end_minute <= band.start_minute)
    return datetime.combine(day + timedelta(days=days), time(minute // 60, minute % 60))


def _on_time_line(local: datetime, zone: ZoneInfo) -> datetime | None:
    """The first instant at which clocks in the zone show the local time; None if they never do."""
    instant = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return instant if instant.astimezone(zone).replace(tzinfo=None) == local else None


def _milliseconds(instant: datetime) -> datetime:
    instant = instant.astimezone(UTC)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def _shown(value: object) -> str:
    """The value as it was sent, short and on one line."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else f"'{value!s}'"
    return text if len(text) <= 60 else f"{text[:57]}...'"  # noqa: PLR2004  (its meaning stands beside it)
