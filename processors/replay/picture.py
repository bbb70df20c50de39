"""A chart laid out: rectangles, lines, polygons and words with their places in pixels, from the top left.

Pure, and the same for every format: what an SVG shows a PNG shows at the same place. Must not: decide what is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from processors.replay.axis import days_off, ticks
from processors.replay.chart import Bar, Chart, Lane, Mark, Step, Strip, overlaps
from processors.replay.shapes import (
    INK,
    Line,
    Picture,
    Point,
    Polygon,
    Rect,
    Shape,
    Words,
    moved,
    shortened,
    symbol,
    wide,
)

WIDTH = 1280
_LEFT, _RIGHT, _PAD = 132, 24, 12
_ROW, _BAR, _STRIP_ROW, _MARK = 21, 15, 13, 9
_TITLE, _AXIS, _HEAD, _GAP, _LEVEL, _TALLEST = 40, 34, 24, 10, 22, 110
_MOST_STRIP_ROWS = 6
#: With more windows than this in a lane the words would hide each other.
_MOST_LABELS = 150
_SMALL, _WORDS, _NAME, _LARGE = 10, 11, 13, 15
#: How much more room bold letters take, and how far apart the words of two levels are.
_BOLD, _ROOM = 1.15, 10

_SOFT, _GRID, _STRONG, _RULE = "#6b7280", "#e5e7eb", "#cbd5e1", "#9ca3af"
_WEEKEND, _OVERLAP, _LINE, _PAUSED = "#f6f1e7", "#fde7c7", "#dc2626", "#b45309"
_LEVELS = ("#94a3b8", "#60a5fa", "#2563eb", "#7c3aed", "#c026d3", "#9d174d")
_WHITE = "#ffffff"
_CAPACITY, _PLANNED = "#0f766e", "#6b7280"
#: Verdicts and states by colour; what is not here is told in grey.
_LOOKS = {
    "accepted": "#16a34a",
    "replaced": "#2563eb",
    "withdrawn": "#d97706",
    "rejected": "#dc2626",
    "duplicate": "#9ca3af",
    "stale": "#9ca3af",
    "to come": "#64748b",
    "scheduled": "#2563eb",
    "started": "#0891b2",
    "succeeded": "#16a34a",
    "failed": "#dc2626",
    "missed": "#d97706",
    "owed": "#d97706",
    "unknown profile": "#dc2626",
    "problem": "#dc2626",
    "no report": "#9ca3af",
}
_OTHER = "#9ca3af"
_SHAPES = {"out": "scale-out", "in": "scale-in", "delete": "deletion", "other": "rerun, pause, resume"}


def picture(chart: Chart) -> Picture:
    """Lay a chart out."""
    return _Layout(chart).done()


@dataclass(slots=True)
class _Layout:
    """One picture while it grows from top to bottom."""

    chart: Chart
    back: list[Shape] = field(default_factory=list)
    front: list[Shape] = field(default_factory=list)
    used: dict[tuple[int, str], Shape] = field(default_factory=dict)
    y: float = 0

    def done(self) -> Picture:
        self.front.append(Words(x=_PAD, y=26, text=self.chart.title, size=_LARGE, bold=True))
        self.y = _TITLE + _AXIS
        top = self.y
        for lane in self.chart.lanes:
            self._lane(lane)
        if not self.chart.lanes:
            self.front.append(Words(x=_LEFT + 20, y=self.y + 30, text="nothing in this time", colour=_SOFT))
            self.y += 50
        self._axis(top, self.y)
        self._legend()
        shapes = (Rect(x=0, y=0, width=WIDTH, height=self.y, fill=_WHITE), *self.back, *self.front)
        return Picture(title=self.chart.title, width=WIDTH, height=self.y, shapes=shapes)

    def x(self, at: datetime) -> float:
        """Where an instant is, cut to the picture."""
        part = (at - self.chart.first) / (self.chart.last - self.chart.first)
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * min(1.0, max(0.0, part))

    def _axis(self, top: float, bottom: float) -> None:
        under: list[Shape] = []
        for begin, end in days_off(self.chart.first, self.chart.last, self.chart.zone):
            x = self.x(begin)
            under.append(Rect(x=x, y=top, width=self.x(end) - x, height=bottom - top, fill=_WEEKEND))
        for tick in ticks(self.chart.first, self.chart.last, self.chart.zone, WIDTH - _LEFT - _RIGHT):
            x = self.x(tick.at)
            colour = _STRONG if tick.strong else _GRID
            under.append(Line(points=((x, top - 4), (x, bottom)), colour=colour))
            for number, line in enumerate(reversed(tick.label.split("\n"))):
                y = top - 8 - number * 12
                self.front.append(Words(x=x + 2, y=y, text=line, size=_SMALL, colour=_SOFT))
        self.back[:0] = under
        if self.chart.line is not None and self.chart.first <= self.chart.line[0] <= self.chart.last:
            at, name = self.chart.line
            x = self.x(at)
            self.front.append(Line(points=((x, top - 2), (x, bottom + 10)), colour=_LINE, width=1.5))
            right = x + wide(name, _SMALL) + 8 > WIDTH - _RIGHT
            anchor, place = ("end", x - 4) if right else ("start", x + 4)
            self.front.append(
                Words(x=place, y=bottom + 9, text=name, size=_SMALL, colour=_LINE, anchor=anchor, bold=True),
            )

    def _lane(self, lane: Lane) -> None:
        self.back.append(Line(points=((_PAD, self.y), (WIDTH - _RIGHT, self.y)), colour=_RULE))
        beside = _LEFT - 8 - max((wide(strip.name, _SMALL) for strip in lane.above[:1]), default=0)
        long = _PAD + _wide_bold(lane.target) > beside
        name = lane.target if not long else shortened(lane.target, (WIDTH - _LEFT) / _BOLD, _NAME)
        self.front.append(Words(x=_PAD, y=self.y + 17, text=name, size=_NAME, bold=True))
        if lane.note:
            x = max(_LEFT + 4, _PAD + _wide_bold(name) + 16)
            note = shortened(lane.note, (WIDTH - _RIGHT - x) / _BOLD, _WORDS)
            self.front.append(Words(x=x, y=self.y + 16, text=note, colour=_PAUSED, bold=True))
        self.y += _HEAD if lane.note or long or not lane.above else 6
        for strip in lane.above:
            self._strip(strip)
        self._bars(lane)
        for strip in lane.below:
            self._strip(strip)
        self._levels(lane)
        self.y += _GAP

    def _strip(self, strip: Strip) -> None:
        rows: list[float] = []
        placed: list[tuple[int, Mark]] = []
        hidden = 0
        for mark in sorted(strip.marks, key=lambda m: (m.at, m.shape, m.look, m.tip)):
            x = self.x(mark.at)
            left, right = x - _MARK / 2 - 1, x + _MARK / 2 + 1
            hidden += len(rows) == _MOST_STRIP_ROWS and all(taken > left for taken in rows)
            placed.append((_fit(rows, left, right, _MOST_STRIP_ROWS), mark))
        if hidden:
            note = f"{hidden} more behind"
            y = self.y + 15 + _STRIP_ROW
            self.front.append(Words(x=_LEFT - 8, y=y, text=note, size=_SMALL, colour=_SOFT, anchor="end"))
        self.front.append(Words(x=_LEFT - 8, y=self.y + 15, text=strip.name, size=_SMALL, colour=_SOFT, anchor="end"))
        for row, mark in placed:
            colour = _LOOKS.get(mark.look, _OTHER)
            points = symbol(mark.shape, self.x(mark.at), self.y + 11 + row * _STRIP_ROW)
            self.front.append(Polygon(points=points, fill=colour, tip=mark.tip))
            if mark.shape in _SHAPES:
                self._use(0, _SHAPES[mark.shape], Polygon(points=symbol(mark.shape, 7, 5), fill=_SOFT))
            if mark.look:
                shape = "problem" if mark.shape == "problem" else "dot"
                self._use(1, mark.look, Polygon(points=symbol(shape, 7, 5), fill=colour))
        self.y += 8 + max(1, len(rows)) * _STRIP_ROW

    def _bars(self, lane: Lane) -> None:
        rows: list[float] = []
        placed = []
        labelled = len(lane.bars) <= _MOST_LABELS
        for bar in sorted(lane.bars, key=lambda b: (b.starts_at, b.label, b.tip)):
            begin, end = self.x(bar.starts_at), self.x(bar.ends_at or self.chart.last)
            end = max(end, begin + 3)
            words, left, right = self._label(bar, begin, end) if labelled else (None, begin, end)
            placed.append((_fit(rows, left - 2, right + 4, None), bar, begin, end, words))
        height = len(rows) * _ROW
        self._overlaps(lane.bars, height)
        for row, bar, begin, end, words in placed:
            self._bar(bar, begin, end, self.y + 4 + row * _ROW)
            if words is not None:
                y = self.y + 4 + row * _ROW + 11.5
                self.front.append(
                    Words(x=words.x, y=y, text=words.text, size=words.size, colour=words.colour, anchor=words.anchor),
                )
        self.y += height + (8 if rows else 0)

    def _label(self, bar: Bar, begin: float, end: float) -> tuple[Words, float, float]:
        """A bar's words with the extent of both: in it, else to its right, else to its left, else cut to fit."""
        length = wide(bar.label, _SMALL)
        edge = WIDTH - _RIGHT
        if length + 10 <= end - begin:
            dark = not bar.force or bar.level <= 1
            return Words(x=begin + 5, y=0, text=bar.label, size=_SMALL, colour=INK if dark else _WHITE), begin, end
        gap = 8 if bar.cut else 4
        if end + length + gap + 2 <= edge:
            return Words(x=end + gap, y=0, text=bar.label, size=_SMALL), begin, end + length + gap + 2
        if begin - length - 6 >= _LEFT:
            words = Words(x=begin - 4, y=0, text=bar.label, size=_SMALL, anchor="end")
            return words, begin - length - 6, end
        cut = shortened(bar.label, edge - end - 6, _SMALL)
        return Words(x=end + 4, y=0, text=cut, size=_SMALL), begin, edge

    def _bar(self, bar: Bar, begin: float, end: float, y: float) -> None:
        colour = _level_colour(bar.level)
        at = begin
        for start, stop in bar.force:
            if start < self.chart.last and (stop is None or stop > self.chart.first):
                x, right = self.x(start), min(max(self.x(stop or self.chart.last), self.x(start) + 3), end)
                self._out_of_force(bar, at, x, y)
                self.front.append(Rect(x=x, y=y, width=right - x, height=_BAR, fill=colour, tip=bar.tip))
                at = right
        self._out_of_force(bar, at, end, y)
        if bar.ends_at is None or bar.ends_at > self.chart.last:
            tip = ((end - 1, y), (end + 7, y + _BAR / 2), (end - 1, y + _BAR))
            self.front.append(Polygon(points=tip, fill=colour, tip=bar.tip))
        elif bar.cut:
            teeth = tuple((end + (2.5 if n % 2 else -2.5), y - 2 + n * (_BAR + 4) / 6) for n in range(7))
            self.front.append(Line(points=teeth, colour=_LINE, width=2))
            self._use(4, "cut short", Line(points=((7, -1), (7, 12)), colour=_LINE, width=2))
        self._use(2, f"level {bar.level} in force", Rect(x=0, y=0, width=14, height=11, fill=colour))

    def _out_of_force(self, bar: Bar, begin: float, end: float, y: float) -> None:
        if end - begin < 1:
            return
        gap = Rect(
            x=begin, y=y + 0.5, width=end - begin, height=_BAR - 1, fill=_WHITE, edge=_level_colour(bar.level),
            dashed=True, tip=bar.tip,
        )  # fmt: skip
        self.front.append(gap)
        self._use(3, "not in force", replace(gap, x=0, y=0, width=14, height=11, edge=_SOFT, tip=""))

    def _overlaps(self, bars: Sequence[Bar], height: float) -> None:
        for begin, end in overlaps(bars, self.chart.last):
            if end <= self.chart.first or begin >= self.chart.last:
                continue
            x = self.x(begin)
            width = max(1.0, self.x(end) - x)
            self.back.append(Rect(x=x, y=self.y, width=width, height=height + 4, fill=_OVERLAP))
            self._use(5, "several windows open", Rect(x=0, y=0, width=14, height=11, fill=_OVERLAP))

    def _levels(self, lane: Lane) -> None:
        """The step line: what runs led to filled, what was planned dashed; or what is planned filled."""
        solid, dashed = (lane.planned, ()) if lane.ran is None else (lane.ran, lane.planned)
        highest = max([1, *(step.level for step in (*solid, *dashed))])
        unit = min(_LEVEL, _TALLEST / highest)
        base = self.y + 8 + highest * unit
        for level in _scale(highest, unit):
            y = base - level * unit
            self.back.append(Line(points=((_LEFT, y), (WIDTH - _RIGHT, y)), colour=_GRID))
            text = f"level {level}" if level == highest else str(level)
            self.front.append(Words(x=_LEFT - 8, y=y + 3.5, text=text, size=_SMALL, colour=_SOFT, anchor="end"))
        if solid:
            points = self._steps(solid, base, unit, lane.known_until if lane.ran is not None else None)
            closed = ((points[0][0], base), *points, (points[-1][0], base))
            self.front.append(Polygon(points=closed, fill=_CAPACITY, opacity=0.18))
            self.front.append(Line(points=points, colour=_CAPACITY, width=2))
            name = "capacity as planned" if lane.ran is None else "capacity as runs led to"
            self._use(6, name, Line(points=((0, 5), (14, 5)), colour=_CAPACITY, width=2))
        if dashed:
            self.front.append(Line(points=self._steps(dashed, base, unit), colour=_PLANNED, width=1.2, dashed=True))
            self._use(7, "as planned", Line(points=((0, 5), (14, 5)), colour=_PLANNED, width=1.2, dashed=True))
        self.y = base

    def _steps(self, steps: Iterable[Step], base: float, unit: float, end: datetime | None = None) -> tuple[Point, ...]:
        points: list[Point] = []
        for step in steps:
            x, y = self.x(step.at), base - step.level * unit
            if points:
                points.append((x, points[-1][1]))
            points.append((x, y))
        points.append((self.x(end or self.chart.last), points[-1][1]))
        return tuple(points)

    def _use(self, order: int, name: str, sample: Shape) -> None:
        self.used.setdefault((order, name), sample)

    def _legend(self) -> None:
        """What is used, once each, in rows; a sample is drawn in a box of 14 by 11."""
        x, y = float(_LEFT), self.y + 28
        for (_, name), sample in sorted(self.used.items(), key=lambda item: item[0]):
            needed = 36 + wide(name, _SMALL)
            if x + needed > WIDTH - _RIGHT:
                x, y = float(_LEFT), y + 18
            self.front.append(moved(sample, x, y - 9))
            self.front.append(Words(x=x + 20, y=y, text=name, size=_SMALL, colour=_SOFT))
            x += needed
        self.y = y + 14


def _wide_bold(text: str) -> float:
    return wide(text, _NAME) * _BOLD


def _scale(highest: int, unit: float) -> list[int]:
    """The levels that get a line: in round steps that leave room for their words, and the highest."""
    step = next(number * 10**power for power in range(9) for number in (1, 2, 5) if number * 10**power * unit >= _ROOM)
    return [*(level for level in range(0, highest, step) if (highest - level) * unit >= _ROOM), highest]


def _level_colour(level: int) -> str:
    return _LEVELS[min(max(level, 0), len(_LEVELS) - 1)]


def _fit(rows: list[float], left: float, right: float, most: int | None) -> int:
    """The first row that is free from left on, which is then taken to the right; the last one if there are as many.

    Args:
        rows: how far each is taken.
        left: from where.
        right: to where.
        most: how many rows there may be; None for any number.
    """
    for number, taken in enumerate(rows):
        if left >= taken:
            rows[number] = right
            return number
    if most is not None and len(rows) >= most:
        return most - 1
    rows.append(right)
    return len(rows) - 1
