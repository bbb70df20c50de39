"""``peaktime worker``: the folds, the reconcile loop and the announcing, in one process or in parts."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from peaktime.cli.wiring import begin
from peaktime.errors import SettingsError
from peaktime.settings import Settings
from processors.app import PARTS, Worker


def command(
    *,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Run only this part; may be repeated: fold, reconcile (folds too), announce."),
    ] = None,
) -> None:
    """Run the worker until SIGTERM or Ctrl-C."""
    settings = Settings.load()
    begin(settings)
    parts = only or list(PARTS)
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise SettingsError("--only", f"{', '.join(unknown)} is no part of the worker", f"Use {', '.join(PARTS)}")
    raise typer.Exit(asyncio.run(_run(settings, parts)))


async def _run(settings: Settings, parts: list[str]) -> int:
    return await Worker(settings, parts).run()
