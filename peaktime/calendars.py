"""The calendars file: which feeds there are, what counts as a holiday in each, and what is scaled afterwards.

Reads YAML and judges it whole. It must not read a feed, nor the environment, and it keeps nothing between calls.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Hashable
from datetime import date, timedelta
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from peaktime.core.calendars import FURTHEST_DAYS
from peaktime.core.feedspec import parse_feed
from peaktime.core.holidays import WEEKDAYS
from peaktime.core.requests import DAYS
from peaktime.errors import CalendarsError

_SAMPLE = "peaktime/samples/calendars.yaml"
_RESERVED = ("pa", "operator")
_NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,28}[a-z0-9])?")
_HASH_SUFFIX = re.compile(r".*-[0-9a-f]{8}")
_DURATION = re.compile(r"(?:(\d{1,5})d)?\s*(?:(\d{1,5})h)?\s*(?:(\d{1,5})m)?\s*(?:(\d{1,6})s)?")


def _calendar_id(value: str) -> str:
    if not _NAME.fullmatch(value) or _HASH_SUFFIX.fullmatch(value):
        raise ValueError("must be lower-case letters, digits and hyphens, at most 30, and not end like a hash")
    if value in _RESERVED:
        raise ValueError(f"must not be one of {', '.join(_RESERVED)}: those origins are taken")
    return value


def _target(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("must be lower-case letters, digits and hyphens, at most 30")
    return value


def _feed(value: str) -> str:
    parse_feed(value)
    return value


def _zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{value!r} is no time zone") from error
    return value


def _weekdays(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) == len(WEEKDAYS):
        raise ValueError("leaves no weekday to work on")
    return tuple(day for day in WEEKDAYS if day in value)


def _duration(value: object) -> timedelta:
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or not any(found.groups()):
        raise ValueError("must be a duration like 4h30m, 90m, 30s or 1d")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _window(value: timedelta) -> timedelta:
    if not timedelta(minutes=1) <= value <= timedelta(days=1) or value.total_seconds() % 60:
        raise ValueError("must be whole minutes, from 1m to 24h")
    return value


def _stale(value: timedelta) -> timedelta:
    if not timedelta(minutes=1) <= value <= timedelta(days=365):
        raise ValueError("must be from 1m to 365d")
    return value


def _timeout(value: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= value <= timedelta(minutes=10):
        raise ValueError("must be from 1s to 10m")
    return value


def _plain(value: str) -> str:
    if "{{" in value or not value.isprintable():
        raise ValueError("must be one line of text without {{")
    return value


_Day = Annotated[str, AfterValidator(lambda value: _one_of(value, DAYS))]
_Weekday = Annotated[str, AfterValidator(lambda value: _one_of(value, WEEKDAYS))]
_Band = Annotated[str, Field(pattern=r"^[a-z0-9]{1,20}$")]
_Duration = Annotated[timedelta, BeforeValidator(_duration)]


def _one_of(value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"must be one of {', '.join(known)}")
    return value


class _Model(BaseModel):
    # The loader gives every scalar as text, so that YAML 1.1 turns no 10:30 into a number and no date into an instant.
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, hide_input_in_errors=True)


class PeakSettings(_Model):
    """The scale-out of a peak: its profile's day and band, local start (HH:MM) and length."""

    day: _Day = "holiday"
    band: _Band = "morning"
    start: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] = "07:30"
    length: Annotated[_Duration, AfterValidator(_window)] = timedelta(hours=4, minutes=30)

    @property
    def minutes(self) -> int:
        """The window's length in minutes."""
        return int(self.length.total_seconds()) // 60


class ScaleInSettings(_Model):
    """The scale-in of a peak: its profile's day and band."""

    day: _Day = "holiday"
    band: _Band = "morning"


class WithdrawalSettings(_Model):
    """How much a feed may take back: it is refused above both the share and the number of days."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.3
    days: Annotated[int, Field(ge=0)] = 1


class CalendarSettings(_Model):
    """One calendar, as the file states it."""

    id: Annotated[str, AfterValidator(_calendar_id)]
    feed: Annotated[str, AfterValidator(_feed)]
    zone: Annotated[str, AfterValidator(_zone)] = "Asia/Seoul"
    weekdays_off: Annotated[tuple[_Weekday, ...], AfterValidator(_weekdays)] = ("sat", "sun")
    kinds: tuple[Literal["public", "substitute", "temporary", "election", "other"], ...] = (
        "public",
        "substitute",
        "temporary",
        "election",
    )
    target: Annotated[str, AfterValidator(_target)]
    peak: PeakSettings = PeakSettings()
    scale_in: ScaleInSettings = ScaleInSettings()
    owner: Annotated[str, Field(max_length=200), AfterValidator(_plain)] = "holiday calendar"
    horizon_days: Annotated[int, Field(ge=1, le=FURTHEST_DAYS)] = FURTHEST_DAYS
    bridge_days: bool = False
    minimum_length: Annotated[int, Field(ge=1, le=366)] = 1
    extra_closing_days: tuple[date, ...] = ()
    leave_out: tuple[date, ...] = ()
    withdrawals: WithdrawalSettings = WithdrawalSettings()
    stale_after: Annotated[_Duration, AfterValidator(_stale)] = timedelta(hours=24)
    timeout: Annotated[_Duration, AfterValidator(_timeout)] = timedelta(seconds=30)
    allow_private_addresses: bool = False


class Calendars(_Model):
    """All calendars of a file, in its order."""

    calendars: tuple[CalendarSettings, ...]

    def get(self, calendar_id: str) -> CalendarSettings:
        """The calendar of that id. Raises CalendarsError, naming those that there are."""
        for calendar in self.calendars:
            if calendar.id == calendar_id:
                return calendar
        known = ", ".join(calendar.id for calendar in self.calendars) or "none"
        reason = f"is in no calendars file; there are: {known}"
        raise CalendarsError(f"calendar {calendar_id}", reason, "Use one of them, or set PEAKTIME_CALENDARS")


def load_calendars(path: Path | None) -> Calendars:
    """The calendars of a YAML file; of the sample that ships with the package if ``path`` is None.

    Raises:
        CalendarsError: the file cannot be read, or is not a valid calendars file; it names every fault with its place.
    """
    if path is None:
        source = resources.files("peaktime") / "samples" / "calendars.yaml"
        return parse_calendars(source.read_text(encoding="utf-8"), _SAMPLE)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        remedy = "Name a readable calendars file in PEAKTIME_CALENDARS"
        raise CalendarsError(str(path), f"cannot be read: {error.strerror}", remedy) from error
    except UnicodeDecodeError as error:
        raise CalendarsError(str(path), "is not UTF-8 text", "Save it as UTF-8") from error
    return parse_calendars(text, str(path))


def parse_calendars(text: str, name: str) -> Calendars:
    """The calendars that a YAML text states; ``name`` stands for the file in errors.

    Raises:
        CalendarsError: as for `load_calendars`.
    """
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506  (a BaseLoader, which builds text only)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise _refused(name, f"is not valid YAML: {where}{error.problem}") from error
    except yaml.YAMLError as error:
        raise _refused(name, f"is not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise _refused(name, "nests itself or is nested too deeply") from error
    try:
        calendars = Calendars.model_validate(data)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        told = "; ".join(f"{_path(fault['loc'])}{_words(fault['type'], fault['msg'])}" for fault in faults)
        raise _refused(name, told) from error
    seen: set[str] = set()
    for number, calendar in enumerate(calendars.calendars):
        if calendar.id in seen:
            raise _refused(name, f"calendars[{number}].id: {calendar.id!r} is there twice")
        seen.add(calendar.id)
    return calendars


class _Loader(yaml.BaseLoader):
    """YAML with every scalar as text, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be plain text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} is there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _refused(name: str, told: str) -> CalendarsError:
    return CalendarsError(name, told, f"Correct the file; {_SAMPLE} shows the format")


def _path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return f"{path}: " if path else ""


def _words(kind: str, message: str) -> str:
    return _WORDS.get(kind, message.removeprefix("Value error, ").removeprefix("Input "))


_WORDS = {
    "bool_parsing": "must be true or false",
    "dict_type": "must be a mapping",
    "extra_forbidden": "is not a known key",
    "float_parsing": "must be a number",
    "int_parsing": "must be a whole number",
    "missing": "is missing",
    "model_type": "must be a mapping",
    "tuple_type": "must be a list",
    "date_from_datetime_parsing": "must be a date like 2026-05-04",
}
