"""``peaktime calendar``: what a holiday feed would lead to, without Kafka.

For: people who set a calendar up, or wonder why a date was chosen. Must not: be slow to start; what a feed or an
output needs is imported when it is used.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from peaktime.core.holidays import WEEKDAYS, HolidayRun, RunOptions, runs
from peaktime.errors import FeedError

if TYPE_CHECKING:
    from producers.calendar.feeds.base import FeedResult

#: A run reaches back this far at most; days before the first one asked for are read so that each run is whole.
_REACH = timedelta(days=62)
_MOST_YEARS = 100
_KINDS = ("public", "substitute", "temporary", "election")

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def calendar() -> None:
    """Show calendars, and the peaks that follow from them."""


@app.command()
def preview(
    *,
    feed: Annotated[str, typer.Option(help="A path, a URL, holidays:KR[:subdivision], or data.go.kr.")],
    zone: Annotated[str, typer.Option(help="Zone of the days.")] = "Asia/Seoul",
    first: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DATE",
            help="First day that may be a peak. [default: 1 January of --to's year, or of this one]",
        ),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="DATE",
            help="Last day that may be a peak. [default: 31 December of --from's year]",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the days to a .svg or .png file.")] = None,
    weekdays_off: Annotated[str, typer.Option(help="Weekdays that nobody works.")] = "sat,sun",
    kinds: Annotated[str, typer.Option(help="Which special days count.")] = ",".join(_KINDS),
    bridge_days: Annotated[bool, typer.Option("--bridge-days", help="A lone working day counts as off.")] = False,
    minimum_length: Annotated[int, typer.Option(help="Fewest days off in a row.", min=1)] = 1,
    closing: Annotated[list[str] | None, typer.Option(metavar="DATE", help="Closed, whatever the feed says.")] = None,
    leave_out: Annotated[list[str] | None, typer.Option(metavar="DATE", help="Does not count.")] = None,
    allow_private: Annotated[
        bool,
        typer.Option("--allow-private", help="The feed may be at a private address."),
    ] = False,
) -> None:
    """Print each peak between two days, both included, with its run of days off and why."""
    here = _zone(zone)
    options = _options(weekdays_off, bridge_days, minimum_length, closing or [], leave_out or [])
    if plot is not None and plot.suffix.lower() not in (".svg", ".png"):
        raise typer.BadParameter("must end in .svg or .png", param_hint="--plot")
    to = _date(last, "--to")
    year = to.year if to is not None else datetime.now(UTC).astimezone(here).year
    start = _date(first, "--from") or date(year, 1, 1)
    end = to or date(start.year, 12, 31)
    if not start <= end or end.year - start.year > _MOST_YEARS or start.year < 1900 or end.year > 9000:  # noqa: PLR2004
        raise typer.BadParameter(f"must not be after --to, and at most {_MOST_YEARS} years before", param_hint="--from")
    found = _read(feed, here, start - _REACH, end, allow_private=allow_private)
    counted = _counted(kinds)
    days = [day for day in found.days if day.kind in counted]
    peaks = [run for run in runs(days, options) if start <= run.peak <= end]
    if plot is not None:
        _plot(plot, peaks, found, (start, end), options.weekdays_off, feed)
    if as_json:
        typer.echo(json.dumps([_plain(run) for run in peaks], ensure_ascii=False, indent=2))
    else:
        _table(peaks)
    if found.covers_to < end:
        known = f"nothing after {found.covers_to}" if found.days else "no day in that time"
        typer.echo(f"peaktime: {found.source}: knows {known}", err=True)


def _plain(run: HolidayRun) -> dict[str, object]:
    return {
        "eventDate": run.peak.isoformat(),
        "runStart": run.start.isoformat(),
        "runEnd": run.end.isoformat(),
        "holidays": [{"date": day.date.isoformat(), "name": day.name} for day in run.holidays],
        "rule": run.rule,
    }


def _table(peaks: list[HolidayRun]) -> None:
    from rich.table import Table  # noqa: PLC0415  (slow to import, and JSON needs none of it)

    from peaktime.cli.tables import show  # noqa: PLC0415  (the same)

    table = Table("peak", "days off", "", "holidays", "rule")
    for run in peaks:
        names = "\n".join(f"{day.date} {WEEKDAYS[day.date.weekday()]} {day.name}" for day in run.holidays)
        peak = f"{run.peak} {WEEKDAYS[run.peak.weekday()]}"
        table.add_row(peak, f"{run.start} to {run.end}", str(run.length), names, run.rule)
    show(table)


def _plot(
    file: Path,
    peaks: list[HolidayRun],
    found: FeedResult,
    between: tuple[date, date],
    weekdays_off: tuple[str, ...],
    feed: str,
) -> None:
    from producers.calendar import plot  # noqa: PLC0415  (only for a picture)

    name = Path(found.source).name if "://" not in feed else found.source
    title = f"Days off and peaks, {between[0]} to {between[1]} ({name})"
    inside = [run for run in peaks if run.end >= between[0]]
    days = [day for day in found.days if between[0] <= day.date <= between[1]]
    try:
        if file.suffix.lower() == ".svg":
            file.write_text(plot.svg(inside, days, *between, weekdays_off=weekdays_off, title=title), encoding="utf-8")
        else:
            plot.png(inside, days, *between, weekdays_off=weekdays_off, title=title, file=file)
    except OSError as error:
        raise FeedError(str(file), f"cannot be written: {error.strerror}", "Name a file that can be") from error


def _read(feed: str, zone: ZoneInfo, first: date, last: date, *, allow_private: bool) -> FeedResult:
    from producers.calendar.feeds.fetch import Fetcher, Limits  # noqa: PLC0415  (brings what fetching needs)
    from producers.calendar.feeds.open import feed_from  # noqa: PLC0415  (the same)

    key = ""
    if feed.strip() == "data.go.kr":
        from peaktime.cli.import_calendar import service_key  # noqa: PLC0415  (settings are slow to import)
        from peaktime.settings import Settings  # noqa: PLC0415  (the same)

        key = service_key(Settings.load())
    fetcher = Fetcher(limits=Limits(allow_private=allow_private))
    return feed_from(feed, zone, fetcher, data_go_kr_key=key).read(first, last)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise typer.BadParameter(f"{name!r} is no time zone", param_hint="--zone") from None


def _date(text: str | None, option: str) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no date; write 2026-05-04", param_hint=option) from None


def _counted(kinds: str) -> set[str]:
    counted = {kind.strip() for kind in kinds.split(",") if kind.strip()}
    unknown = counted - {*_KINDS, "other"}
    if unknown:
        reason = f"{min(unknown)!r} is none of {', '.join(_KINDS)}, other"
        raise typer.BadParameter(reason, param_hint="--kinds")
    return counted


def _options(
    weekdays_off: str,
    bridge_days: bool,
    minimum_length: int,
    closing: list[str],
    leave_out: list[str],
) -> RunOptions:
    try:
        return RunOptions(
            weekdays_off=tuple(day.strip().lower() for day in weekdays_off.split(",") if day.strip()),
            bridge_days=bridge_days,
            minimum_length=minimum_length,
            extra_closing_days=frozenset(day for text in closing if (day := _date(text, "--closing"))),
            leave_out=frozenset(day for text in leave_out if (day := _date(text, "--leave-out"))),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--weekdays-off") from None
