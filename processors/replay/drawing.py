"""Writing a picture: as SVG, which needs nothing, and as PNG, which needs matplotlib.

The same picture gives the same bytes of SVG. Must not: lay out, or decide what is shown.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from peaktime.errors import SettingsError
from processors.replay.shapes import Line, Picture, Point, Polygon, Rect, Shape

FORMATS = (".svg", ".png")
_KOREAN = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "Source Han Sans KR",
    "Pretendard",
    "NanumGothic",
    "NanumBarunGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "AppleGothic",
    "UnDotum",
    "Baekmuk Gulim",
)
_FAMILY = ", ".join(["system-ui", "-apple-system", "Segoe UI", *_KOREAN, "Noto Sans", "DejaVu Sans", "sans-serif"])
_DOTS_PER_INCH = 144
_PIXELS_PER_INCH = 100
_POINTS_PER_INCH = 72


def write(picture: Picture, file: Path) -> str:
    """Write a picture to a .svg or .png file.

    Returns:
        What its reader should know: that letters are missing from the fonts of this machine; mostly empty.

    Raises:
        SettingsError: the file cannot be written, or a PNG is asked for and matplotlib is not installed.
    """
    told, content = ("", svg(picture).encode()) if file.suffix.lower() == ".svg" else png(picture)
    try:
        file.write_bytes(content)
    except OSError as error:
        raise SettingsError(str(file), f"cannot be written: {error.strerror}", "Name a file that can be") from error
    return told


def svg(picture: Picture) -> str:
    """The picture as an SVG document."""
    size = f"{_n(picture.width)} {_n(picture.height)}"
    width, height = size.split()
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" width="{width}" height="{height}">',
            f"<title>{_text(picture.title)}</title>",
            f"<style>text {{ font-family: {_FAMILY}; white-space: pre }}</style>",
            *map(_element, picture.shapes),
            "</svg>",
            "",
        ],
    )


def _element(shape: Shape) -> str:
    if isinstance(shape, Rect):
        edge = f' stroke="{shape.edge}"' + (' stroke-dasharray="3 2"' if shape.dashed else "") if shape.edge else ""
        place = f'x="{_n(shape.x)}" y="{_n(shape.y)}" width="{_n(shape.width)}" height="{_n(shape.height)}"'
        return _tipped(f'<rect {place} fill="{shape.fill}"{edge}', "rect", shape.tip)
    if isinstance(shape, Line):
        dash = ' stroke-dasharray="4 3"' if shape.dashed else ""
        look = f'fill="none" stroke="{shape.colour}" stroke-width="{_n(shape.width)}"{dash}'
        return f'<polyline points="{_points(shape.points)}" {look}/>'
    if isinstance(shape, Polygon):
        opacity = f' fill-opacity="{shape.opacity:g}"' if shape.opacity < 1 else ""
        start = f'<polygon points="{_points(shape.points)}" fill="{shape.fill}"{opacity}'
        return _tipped(start, "polygon", shape.tip)
    bold = ' font-weight="bold"' if shape.bold else ""
    anchor = f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
    look = f'font-size="{_n(shape.size)}" fill="{shape.colour}"{anchor}{bold}'
    return f'<text x="{_n(shape.x)}" y="{_n(shape.y)}" {look}>{_text(shape.text)}</text>'


def _tipped(start: str, name: str, tip: str) -> str:
    return f"{start}><title>{_text(tip)}</title></{name}>" if tip else f"{start}/>"


def _points(points: Iterable[Point]) -> str:
    return " ".join(f"{_n(x)},{_n(y)}" for x, y in points)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(text: str) -> str:
    # XML has no way to write most control characters, and somebody's words may hold one.
    return escape("".join(letter if letter.isprintable() else " " for letter in text))


def png(picture: Picture) -> tuple[str, bytes]:
    """The picture as a PNG file, with what its reader should know.

    Raises:
        SettingsError: matplotlib is not installed.
    """
    try:
        from matplotlib import patches  # noqa: PLC0415  (an extra)
        from matplotlib.figure import Figure  # noqa: PLC0415  (the same)
    except ImportError as error:
        remedy = "Install peaktime[plot], or name a .svg file"
        raise SettingsError("a PNG", "needs matplotlib, which is not installed", remedy) from error
    family, missing = _fonts(picture.text())
    figure = Figure(figsize=(picture.width / _PIXELS_PER_INCH, picture.height / _PIXELS_PER_INCH))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, picture.width), ylim=(picture.height, 0))
    axes.axis("off")
    scale = _POINTS_PER_INCH / _PIXELS_PER_INCH
    for order, shape in enumerate(picture.shapes):
        if isinstance(shape, Rect):
            look: dict[str, Any] = {
                "edgecolor": shape.edge or "none",
                "linewidth": scale,
                "linestyle": "--" if shape.dashed else "-",
            }
            box = (shape.x, shape.y), shape.width, shape.height
            axes.add_patch(patches.Rectangle(*box, facecolor=shape.fill, zorder=order, **look))
        elif isinstance(shape, Line):
            xs, ys = zip(*shape.points, strict=True)
            look = {"color": shape.colour, "linewidth": shape.width * scale, "linestyle": "--" if shape.dashed else "-"}
            axes.plot(xs, ys, zorder=order, **look)
        elif isinstance(shape, Polygon):
            look = {"facecolor": shape.fill, "alpha": shape.opacity, "linewidth": 0}
            axes.add_patch(patches.Polygon(shape.points, closed=True, zorder=order, **look))
        else:
            # Fonts for East Asia seldom have a bold face; names of targets are ASCII.
            bold = shape.bold and shape.text.isascii()
            look = {"family": family[:1] if bold else family, "weight": "bold" if bold else "normal"}
            align = {"start": "left", "middle": "center", "end": "right"}[shape.anchor]
            axes.text(
                shape.x, shape.y, _plain(shape.text), fontsize=shape.size * scale, color=shape.colour, ha=align,
                va="baseline", zorder=order, parse_math=False, **look,
            )  # fmt: skip
    out = io.BytesIO()
    with warnings.catch_warnings():
        # What is missing is told once, in words.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(out, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    told = ""
    if missing:
        told = (
            f"no font on this machine has the letters {missing!r}, so boxes stand for them; "
            "install one (Noto Sans CJK KR or NanumGothic for Korean), or name a .svg file"
        )
    return told, out.getvalue()


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _fonts(text: str) -> tuple[list[str], str]:
    """The font families to draw with, and up to ten of the letters that none of them has."""
    from matplotlib.font_manager import fontManager  # noqa: PLC0415  (an extra)
    from matplotlib.ft2font import FT2Font  # noqa: PLC0415  (the same)

    found = {font.name: font.fname for font in fontManager.ttflist}
    family = ["DejaVu Sans", *(name for name in _KOREAN if name in found)]
    known: set[int] = set()
    for name in family:
        known |= set(FT2Font(found[name]).get_charmap())
    missing = sorted({letter for letter in _plain(text) if ord(letter) not in known})
    return family, "".join(missing[:10])
