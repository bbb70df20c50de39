"""How commands print tables and lines.

For: one look, on a terminal and in a file, whatever somebody's words hold. Must not: know what is in them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

_UNBOUNDED = 1000


#: What a terminal might obey: control characters, line separators, and what turns the direction of writing.
_OBEYED = {"Cc", "Zl", "Zp"}
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def tame(text: str) -> str:
    """A text with everything escaped that a terminal might obey; letters of every script stay as they are."""
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _OBEYED or c in _TURNING else c for c in text
    )


def print_lines(lines: Iterable[str]) -> None:
    """Print lines to stdout, each as it is, but tame."""
    out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    for line in lines:
        out.print(tame(line))


def show(table: Table) -> None:
    """Print a table to stdout; where that is no terminal, nothing is wrapped or cut."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_UNBOUNDED)
    console.print(table)
