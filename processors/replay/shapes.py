"""What a picture is made of: rectangles, lines, polygons and words, in pixels from the top left.

Pure values, and how much room they take. Must not: know what they stand for, or how a format writes them.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace

INK = "#1f2937"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rect:
    """A rectangle; ``edge`` empty for none."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    edge: str = ""
    dashed: bool = False
    round: float = 0
    tip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float = 1
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Polygon:
    """A filled outline; ``opacity`` from 0 to 1."""

    points: tuple[tuple[float, float], ...]
    fill: str
    opacity: float = 1
    tip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A line of text; ``y`` is its baseline, ``anchor`` start, middle or end."""

    x: float
    y: float
    text: str
    size: float = 11
    colour: str = INK
    anchor: str = "start"
    bold: bool = False


Shape = Rect | Line | Polygon | Words


@dataclass(frozen=True, slots=True)
class Picture:
    """All shapes, the later ones above the earlier ones."""

    title: str
    width: float
    height: float
    shapes: tuple[Shape, ...]

    def text(self) -> str:
        """Every letter in it."""
        return "".join(shape.text for shape in self.shapes if isinstance(shape, Words))


Point = tuple[float, float]
_R = 4.5
_SYMBOLS: dict[str, tuple[Point, ...]] = {
    "out": ((-_R, _R), (0, -_R), (_R, _R)),
    "in": ((-_R, -_R), (0, _R), (_R, -_R)),
    "delete": (
        (-4.5, -3), (-3, -4.5), (0, -1.5), (3, -4.5), (4.5, -3), (1.5, 0),
        (4.5, 3), (3, 4.5), (0, 1.5), (-3, 4.5), (-4.5, 3), (-1.5, 0),
    ),
    "problem": ((0, -5), (5, 0), (0, 5), (-5, 0)),
    "other": ((-4, -4), (4, -4), (4, 4), (-4, 4)),
    "dot": ((-4, 0), (-2.8, -2.8), (0, -4), (2.8, -2.8), (4, 0), (2.8, 2.8), (0, 4), (-2.8, 2.8)),
}  # fmt: skip


def symbol(shape: str, x: float, y: float) -> tuple[Point, ...]:
    """The outline of a mark around a point."""
    return tuple((x + dx, y + dy) for dx, dy in _SYMBOLS.get(shape, _SYMBOLS["other"]))


def moved(shape: Shape, dx: float, dy: float) -> Shape:
    """The shape at another place."""
    if isinstance(shape, Rect | Words):
        return replace(shape, x=shape.x + dx, y=shape.y + dy)
    return replace(shape, points=tuple((x + dx, y + dy) for x, y in shape.points))


def wide(text: str, size: float) -> float:
    """About how many pixels a text takes: a letter of East Asia is as wide as it is high."""
    full = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return size * (1.0 * full + 0.56 * (len(text) - full))


def shortened(text: str, room: float, size: float) -> str:
    """The text, cut with an ellipsis if it takes more than so many pixels; empty if not even that fits."""
    if wide(text, size) <= room:
        return text
    kept = text
    while kept and wide(kept + "…", size) > room:
        kept = kept[:-1]
    return kept.rstrip() + "…" if kept else ""
