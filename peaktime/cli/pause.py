"""``peaktime pause``: keep everything of a target from starting.

For: on-call engineers. Must not: touch the cluster; it puts a request on the log, and the worker does the rest.
"""

from __future__ import annotations

from typing import Annotated

import typer

from peaktime.cli.operating import DryRun, Json, RequestId, Who, Why, operators_request, publish, settings_of_command
from schemas.records import RequestAction


def command(
    target: Annotated[str, typer.Argument(help="What is scaled as one, e.g. infra.")],
    *,
    owner: Who,
    why: Why,
    request_id: RequestId = None,
    as_json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Start nothing of a target until it is resumed. What goes on is left to finish; what is scheduled is suspended."""
    settings = settings_of_command()
    wanted = operators_request(settings, RequestAction.PAUSE, target, owner=owner, why=why, request_id=request_id)
    publish(settings, wanted, as_json=as_json, dry_run=dry_run)
