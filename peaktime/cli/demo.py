"""``peaktime demo``: see the whole way of an event on this machine.

For: finding the demo's inputs and running it. Must not: decide what it shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peaktime.errors import RequestError

_EXAMPLES = Path("examples") / "pa"


def command(
    *,
    pa: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of PA bodies (*.json). [default: examples/pa]"),
    ] = None,
    feed: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Holiday feed: an ICS file, or what import-calendar takes. [default: Korea's public holidays]",
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Where manifests, summary and logs go; emptied if a demo made it."),
    ] = Path("demo-output"),
    for_seconds: Annotated[
        float,
        typer.Option(min=0, help="Real seconds for running what was planned, on the fast-forwarded clock."),
    ] = 20.0,
) -> None:
    """See the whole way of an event on this machine: broker, worker, messages and a stand-in for Argo, embedded."""
    from peaktime.sandbox.demo import run  # noqa: PLC0415  (so that --help is quick)
    from peaktime.sandbox.demo_show import Options  # noqa: PLC0415  (the same)

    options = Options(pa=pa or _examples(), feed=feed, output=output, for_seconds=for_seconds)
    raise typer.Exit(run(options))


def _examples() -> Path:
    """The examples in this folder, or beside the package if it runs from a checkout."""
    beside = Path(__file__).resolve().parents[2] / _EXAMPLES
    for folder in (_EXAMPLES, beside):
        if folder.is_dir():
            return folder
    raise RequestError(str(_EXAMPLES), "there is no such folder here", "Name a folder of PA bodies with --pa")
