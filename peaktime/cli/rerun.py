"""``peaktime rerun``: ask for a run once more, usually one that failed.

For: on-call engineers. Must not: touch the cluster; it puts a request on the log, and the worker starts the run if it
still leads to what is wanted.
"""

from __future__ import annotations

from typing import Annotated

import typer

from peaktime.cli.operating import DryRun, Json, RequestId, Who, Why, operators_request, publish, settings_of_command
from peaktime.cli.reading import open_codec, open_log
from peaktime.core.outcomes import BEGUN, is_run
from peaktime.errors import RequestError
from peaktime.settings import Settings
from processors.replay.standing import read_standing
from schemas.catalogue import load_catalogue
from schemas.records import Fact, RequestAction

_SHOWN = 5


def command(
    run: Annotated[str, typer.Argument(help="The run: its Workflow's name, or its CronWorkflow's for the last one.")],
    *,
    owner: Who,
    why: Why,
    request_id: RequestId = None,
    as_json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Start a run again. It is refused if it would not lead to what is wanted now."""
    settings = settings_of_command()
    fact = _found(settings, run)
    wanted = operators_request(
        settings,
        RequestAction.RERUN,
        fact.target,
        owner=owner,
        why=why,
        request_id=request_id,
        origin=fact.outcome.origin,
        event_date=fact.outcome.event_date,
        run=fact.outcome.workflow,
    )
    publish(settings, wanted, as_json=as_json, dry_run=dry_run)


def _found(settings: Settings, name: str) -> Fact:
    """The fact of the run that is meant.

    Raises:
        RequestError: no such run has begun.
    """
    with open_log(settings) as log:
        standing = read_standing(log, open_codec(settings), load_catalogue(settings.topic_prefix))
    runs = [fact for fact in standing.each_fact() if is_run(fact)]
    begun = [fact for fact in runs if fact.state in BEGUN and fact.outcome.entry]
    begun.sort(key=lambda fact: (fact.outcome.fires_at or fact.log_time, fact.subject))
    meant = [fact for fact in begun if name in (fact.outcome.workflow, fact.outcome.cron_workflow)]
    if meant:
        return meant[-1]
    if any(name in (fact.outcome.workflow, fact.outcome.cron_workflow) for fact in runs):
        raise RequestError(f"run {name}", ["it has not begun yet"], "Wait for it, or see `peaktime plan`")
    last = ", ".join(fact.outcome.workflow for fact in reversed(begun[-_SHOWN:])) or "there are none"
    raise RequestError(f"run {name}", ["no such run is known"], f"The last ones are: {last}")
