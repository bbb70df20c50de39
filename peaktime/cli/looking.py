"""What the commands of the on-call engineer have in common: how things stand, the time, days, and pictures.

For: plan, explain and schedule, and ``audit plot``. Must not: import anything that writes to Kafka or to the cluster.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from peaktime.cli.reading import instant as read_instant
from peaktime.cli.reading import open_codec, open_log
from peaktime.core.profiles import Profiles
from peaktime.errors import PeaktimeError, SettingsError
from peaktime.sandbox.clock import Clock, RealClock, SandboxClock
from peaktime.settings import Settings
from processors.replay.chart import Chart
from processors.replay.standing import Standing, read_standing
from schemas.catalogue import load_catalogue
from schemas.records import Pause

_LONGEST = timedelta(days=400)
_CANDIDATES = 5


def clock_of(settings: Settings) -> Clock:
    """The clock that the workers go by."""
    return RealClock() if settings.clock_file is None else SandboxClock(settings.clock_file)


def how_things_stand(settings: Settings, target: str | None) -> Standing:
    """Entries and facts as the log has them now, of one target or of all.

    Raises:
        BrokerError: Kafka does not answer, or a topic is missing.
    """
    with open_log(settings) as log:
        return read_standing(log, open_codec(settings), load_catalogue(settings.topic_prefix), target)


def targets_of(asked: str | None, known: Iterable[str], profiles: Profiles) -> list[str]:
    """The targets that are meant.

    Args:
        asked: the one that somebody typed; None for all that are known.
        known: those that something is known of.
        profiles: those that are configured may be asked for, too.

    Raises:
        PeaktimeError: it is none.
    """
    found = set(known)
    if asked is None:
        return sorted(found)
    every = sorted(found | {profile.target for profile in profiles.by_name.values()})
    if asked not in every:
        some = ", ".join(every[:_CANDIDATES]) + (", ..." if len(every) > _CANDIDATES else "")
        raise PeaktimeError(f"--target {asked}", "there is no such target", f"Known are {some}" if every else "")
    return [asked]


def day_or_instant(text: str | None, zone: ZoneInfo, option: str, *, end: bool = False) -> datetime | None:
    """An instant that somebody typed, in UTC; a bare date is its midnight, as an end that of the next day.

    Raises:
        SettingsError: it is none.
    """
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return read_instant(text, zone, option)
    try:
        return midnight(day + timedelta(days=1) if end else day, zone)
    except OverflowError:
        raise SettingsError(option, f"{text} is too far away", "Write a day of this century") from None


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The beginning of a local day (UTC)."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def check_span(first: datetime, last: datetime) -> None:
    """Refuse a time that is none, or too long for a table or a picture.

    Raises:
        SettingsError: it is.
    """
    if not first < last:
        raise SettingsError("--to", "is not after --from", "Name a later day")
    if last - first > _LONGEST:
        raise SettingsError("--to", f"is more than {_LONGEST.days} days after --from", "Name an earlier day")


def check_picture(file: Path) -> Path:
    """Refuse a file that is no picture, before anything is read.

    Raises:
        SettingsError: its name ends in neither .svg nor .png, or its folder is not there.
    """
    if file.suffix.lower() not in (".svg", ".png"):
        raise SettingsError(str(file), "is neither .svg nor .png", "Name a file that ends in one of them")
    if not file.parent.is_dir():
        raise SettingsError(str(file), f"there is no folder {file.parent}", "Make it, or name another")
    return file


def draw(chart: Chart, file: Path) -> None:
    """Draw a picture to a file, and say on stderr what its reader should know.

    Raises:
        SettingsError: it cannot be written, or a PNG is asked for and matplotlib is not installed.
    """
    from processors.replay.drawing import write  # noqa: PLC0415  (only for a picture)
    from processors.replay.picture import picture  # noqa: PLC0415  (the same)

    told = write(picture(chart), file)
    if told:
        sys.stderr.write(f"peaktime: {file}: {told}\n")


def iso(value: datetime | None) -> str | None:
    """``2026-05-04T09:00:00Z``, with milliseconds where there are any; None for None."""
    if value is None:
        return None
    precise = "milliseconds" if value.microsecond else "seconds"
    return value.astimezone(UTC).isoformat(timespec=precise).replace("+00:00", "Z")


def pause_json(pause: Pause | None) -> dict[str, Any] | None:
    """Who paused a target, for programs."""
    return None if pause is None else {"by": pause.owner, "why": pause.why, "since": iso(pause.changed_at)}
