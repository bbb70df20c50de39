"""How commands print tables.

For: one look, on a terminal and in a file. Must not: know what is in them.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

_UNBOUNDED = 1000


def show(table: Table) -> None:
    """Print a table to stdout; where that is no terminal, nothing is wrapped or cut."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_UNBOUNDED)
    console.print(table)
