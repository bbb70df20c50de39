"""``peaktime audit plot``: a month of the log as a picture, by the renderer of ``schedule --plot``.

For: who looks back. The same log and profiles give the same SVG, byte for byte. Must not: write anything but the file
that is named, or import anything that has effects.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from peaktime.cli.looking import check_picture, draw
from peaktime.cli.views import run_session
from peaktime.errors import SettingsError
from peaktime.profiles import load_profiles
from peaktime.settings import Settings
from processors.replay.findings import Scope
from processors.replay.month import Month
from schemas.records import RequestAction


def plot(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .svg or .png file.")],
    *,
    month: Annotated[str, typer.Option(metavar="MONTH", help="Such as 2026-05.")],
    target: Annotated[str | None, typer.Option(help="Only this target.")] = None,
) -> None:
    """Draw a month as it was: requests, windows, runs and what they led to. The same log gives the same SVG."""
    settings = Settings.load()
    first, last = month_of(month, settings.tz)
    check_picture(file)
    profiles = load_profiles(settings.profiles)

    def level_of(action: RequestAction, name: str, day: str, band: str) -> int | None:
        profile = profiles.find(name, day, band)
        if profile is None:
            return None
        return (profile.scale_out if action is RequestAction.SCALE_OUT else profile.scale_in).level

    seen = Month(first, last, settings.zone, target, level_of)
    # Runs of the last hours are told of after the month.
    until = last + timedelta(days=1)
    report = run_session(settings, Scope(target=target, until=until, compare=False, zone=settings.zone), seen.step)
    draw(seen.chart(report.entries), file)
    typer.echo(str(file))


def month_of(text: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The beginning and the end of a local month (UTC).

    Raises:
        SettingsError: it is no month.
    """
    try:
        begin = datetime.strptime(text, "%Y-%m").replace(tzinfo=zone)
        end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
        return begin.astimezone(UTC), end.astimezone(UTC)
    except (ValueError, OverflowError):
        raise SettingsError("--month", f"{text!r} is no month", "Write 2026-05") from None
