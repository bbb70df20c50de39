"""A picture of the days off: a row for each month, a square for each day.

Pure, but for `png`, which draws with matplotlib. Must not: decide anything; it shows runs as they were worked out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape
from pathlib import Path

from peaktime.core.holidays import WEEKDAYS, HolidayRun
from peaktime.errors import FeedError
from schemas.records import CalendarDay

_CELL, _GAP, _LEFT, _TOP, _LEGEND = 22, 3, 76, 46, 40
_MONTH_DAYS = 31
_COLOURS = {
    "worked": "#eef1f5",
    "weekday off": "#c9d1dc",
    "holiday": "#e4572e",
    "bridge day": "#f3a712",
    "peak": "#1f6feb",
}
_RUN_COLOUR = "#8a1c0b"


@dataclass(frozen=True, slots=True)
class Cell:
    """One day: which row and column, what it is, whether a run holds it, and what a pointer over it says."""

    row: int
    column: int
    kind: str
    in_run: bool
    label: str


def cells(
    runs: Iterable[HolidayRun],
    days: Iterable[CalendarDay],
    first: date,
    last: date,
    weekdays_off: Sequence[str],
) -> Iterator[Cell]:
    """Every day from ``first`` to ``last``; a row is a month, counted from the first one."""
    runs = list(runs)
    names = {day.date: day.name for day in days} | {day.date: day.name for run in runs for day in run.holidays}
    peaks = {run.peak for run in runs}
    bridges = {day for run in runs for day in run.bridges}
    inside = {run.start + timedelta(days=n) for run in runs for n in range(run.length)}
    day = first
    while day <= last:
        weekday = WEEKDAYS[day.weekday()]
        kind = (
            "peak"
            if day in peaks
            else "holiday"
            if day in names
            else "bridge day"
            if day in bridges
            else "weekday off"
            if weekday in weekdays_off
            else "worked"
        )
        row = (day.year - first.year) * 12 + day.month - first.month
        yield Cell(row, day.day - 1, kind, day in inside, f"{day} {weekday} {names.get(day, kind)}")
        day += timedelta(days=1)


def svg(
    runs: Iterable[HolidayRun],
    days: Iterable[CalendarDay],
    first: date,
    last: date,
    *,
    weekdays_off: Sequence[str],
    title: str,
) -> str:
    """The picture as an SVG document."""
    step = _CELL + _GAP
    months = _months(first, last)
    width, height = _LEFT + _MONTH_DAYS * step + 10, _TOP + len(months) * step + _LEGEND
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        "<style>text { font: 11px sans-serif }</style>",
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="10" y="18">{escape(title)}</text>',
    ]
    parts += [
        f'<text x="{_LEFT + n * step + _CELL / 2:g}" y="{_TOP - 6}" text-anchor="middle">{n + 1}</text>'
        for n in range(_MONTH_DAYS)
    ]
    parts += [f'<text x="10" y="{_TOP + n * step + 15}">{month}</text>' for n, month in enumerate(months)]
    for cell in cells(runs, days, first, last, weekdays_off):
        x, y = _LEFT + cell.column * step, _TOP + cell.row * step
        edge = f' stroke="{_RUN_COLOUR}" stroke-width="2"' if cell.in_run else ""
        parts.append(
            f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" rx="3" fill="{_COLOURS[cell.kind]}"{edge}>'
            f"<title>{escape(cell.label)}</title></rect>",
        )
    x, y = _LEFT, _TOP + len(months) * step + 10
    for name, colour in {**_COLOURS, "in a run": "none"}.items():
        edge = f' stroke="{_RUN_COLOUR}" stroke-width="2"' if colour == "none" else ""
        parts.append(f'<rect x="{x}" y="{y}" width="14" height="14" rx="3" fill="{colour}"{edge}/>')
        parts.append(f'<text x="{x + 20}" y="{y + 11}">{name}</text>')
        x += 110
    return "\n".join([*parts, "</svg>", ""])


def png(
    runs: Iterable[HolidayRun],
    days: Iterable[CalendarDay],
    first: date,
    last: date,
    *,
    weekdays_off: Sequence[str],
    title: str,
    file: Path,
) -> None:
    """Write the picture as a PNG file.

    Raises:
        FeedError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  (an extra)
        from matplotlib.patches import Patch, Rectangle  # noqa: PLC0415  (the same)
    except ImportError as error:
        remedy = "Install peaktime[plot], or plot to a .svg file"
        raise FeedError(str(file), "a PNG needs matplotlib, which is not installed", remedy) from error
    months = _months(first, last)
    figure = Figure(figsize=(11, 1.4 + 0.32 * len(months)), layout="constrained")
    axes = figure.subplots()
    for cell in cells(runs, days, first, last, weekdays_off):
        edge = {"edgecolor": _RUN_COLOUR, "linewidth": 1.5} if cell.in_run else {"edgecolor": "none"}
        axes.add_patch(
            Rectangle((cell.column + 0.55, cell.row - 0.4), 0.85, 0.8, facecolor=_COLOURS[cell.kind], **edge),
        )
    axes.set(xlim=(0.3, _MONTH_DAYS + 0.7), ylim=(len(months) - 0.4, -0.6), title=title)
    axes.set_xticks([n + 0.97 for n in range(_MONTH_DAYS)], [str(n + 1) for n in range(_MONTH_DAYS)])
    axes.set_yticks(range(len(months)), months)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    patches = [Patch(facecolor=colour, label=name) for name, colour in _COLOURS.items()]
    patches.append(Patch(facecolor="none", edgecolor=_RUN_COLOUR, label="in a run"))
    axes.legend(handles=patches, ncols=len(patches), loc="upper center", bbox_to_anchor=(0.5, -0.06), frameon=False)
    figure.savefig(file, format="png", dpi=120)


def _months(first: date, last: date) -> list[str]:
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    return [f"{first.year + (first.month - 1 + n) // 12}-{(first.month - 1 + n) % 12 + 1:02}" for n in range(count)]
