"""``peaktime settings``: the settings in effect.

For: people who wonder what a process would do. Must not: show a secret.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from peaktime.cli.tables import show
from peaktime.settings import ENV_PREFIX, Settings, unknown_variables


def command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show the settings in effect, secrets hidden."""
    shown = Settings.load().redacted()
    for name, meant in unknown_variables().items():
        hint = f"{meant} may be meant" if meant else "no setting has a name like it"
        typer.echo(f"peaktime: {name}: is not a setting, so nothing reads it; {hint}", err=True)
    if as_json:
        typer.echo(json.dumps({ENV_PREFIX + name.upper(): value for name, value in shown.items()}, indent=2))
        return
    table = Table("variable", "value", "meaning")
    for name, value in shown.items():
        meaning = Settings.model_fields[name].description or ""
        table.add_row(ENV_PREFIX + name.upper(), "" if value is None else str(value), meaning)
    show(table)
