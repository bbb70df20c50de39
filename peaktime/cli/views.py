"""The views of the log that ``peaktime audit`` prints and exports, each from one replay.

For: one way to each view, so that what is exported is what is shown. Where the beginning of the log is gone it says on
stderr from when on it can answer. Must not: import anything that has effects, or print anything else.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import typer

from peaktime.cli.reading import Progress, open_codec, open_log, open_session
from peaktime.core import wording
from peaktime.errors import RequestError, SettingsError
from peaktime.settings import Settings
from processors.replay.changes import Changes
from processors.replay.export import NotedLog, Seen
from processors.replay.findings import Report, Scope
from processors.replay.log import Offsets, Span
from processors.replay.lookup import run_on_log
from processors.replay.refold import Step
from processors.replay.report import trimmed_lines
from processors.replay.session import Observer
from processors.replay.story import Stories, Story, event_date_here, wanted_event
from processors.replay.views import DiffRow, Filter, RequestRow, ScheduleRow, request_row, schedule_row
from schemas.catalogue import load_catalogue

_KEY_PARTS = 3


class Noted:
    """What a view was made from, for the manifest of an export.

    Attributes:
        seen: what counts of what was read.
        spans: what was read.
    """

    def __init__(self, until: datetime | None = None) -> None:
        self.seen = Seen(until)
        self.spans: list[Span] = []


def run_session(
    settings: Settings,
    scope: Scope,
    *observers: Observer,
    stories: Stories | None = None,
    noted: Noted | None = None,
    told: bool = True,
) -> Report:
    """One replay.

    Args:
        settings: where the log is.
        scope: what is asked for.
        observers: given every folded record, if there are no stories.
        stories: given what they are told from.
        noted: told what was read.
        told: whether to say that the beginning of a topic is gone.

    Raises:
        BrokerError: Kafka does not answer, or a topic is missing.
        SchemaUnavailableError: the registry is away.
    """
    with open_log(settings) as log, Progress(shown=True) as progress:
        if not scope.compare:
            # What stands since before the beginning is known from the tables alone.
            requests = log.spans([load_catalogue(settings.topic_prefix).requests.name])
            scope = replace(scope, compare=any(span.low > 0 for span in requests))
        read = log if noted is None else NotedLog(log, noted.seen)
        session = open_session(settings, read, scope, progress)
        if stories is None:
            report = session.run(*observers)
        else:
            report = session.run(stories.step, notifications=stories.notification, deliveries=stories.delivery)
    for line in trimmed_lines(report, settings.zone) if told else ():
        typer.echo(f"peaktime: {line}", err=True)
    if noted is not None:
        noted.spans = report.spans
    return report


def event_stories(
    settings: Settings,
    event: str,
    target: str | None,
    until: datetime | Offsets | None = None,
    noted: Noted | None = None,
) -> list[Story]:
    """The stories of the events that somebody means by a key, an event date, or the name of a run, by key.

    Args:
        settings: where the log is.
        event: an entry key, an event date, or the name of a run or of a CronWorkflow.
        target: only of this one.
        until: nothing of a later log time, or beyond these offsets.
        noted: told what was read.
    """
    if target is None and event.count("/") == _KEY_PARTS - 1:
        target = event.strip().partition("/")[0]
    wanted = wanted_event(event, target, settings.zone)
    if "/" not in event.removeprefix("run/") and event_date_here(event.strip(), settings.zone) is None:
        with open_log(settings) as log:
            topic = load_catalogue(settings.topic_prefix).outcomes.name
            of_run = run_on_log(event.strip().removeprefix("run/"), log, open_codec(settings), topic)

        def wanted(key: str) -> bool:
            return key in of_run and target in (None, key.partition("/")[0])

    stories = Stories(wanted, settings.zone, until)
    scope = Scope(target=target, until=until, compare=False, zone=settings.zone)
    run_session(settings, scope, stories=stories, noted=noted)
    return stories.all()


def request_rows(settings: Settings, wanted: Filter, noted: Noted | None = None) -> list[RequestRow]:
    """The requests that are meant, in the order in which they were read."""
    rows: list[RequestRow] = []

    def take(step: Step) -> None:
        if step.topic == "requests" and wanted.meets(step):
            rows.append(request_row(step))

    run_session(settings, Scope(until=wanted.until, compare=False, zone=settings.zone), take, noted=noted)
    return rows


def schedule_rows(
    settings: Settings, moment: datetime | Offsets | None, target: str | None, noted: Noted | None = None
) -> list[ScheduleRow]:
    """What was asked for, as it stood at a log time, or before offsets; now if that is None.

    Raises:
        RequestError: that was before the log begins.
    """
    report = run_session(settings, Scope(target=target, until=moment, compare=False, zone=settings.zone), noted=noted)
    if isinstance(moment, datetime):
        _known(settings, report, moment)
    return [schedule_row(entry) for entry in report.entries.values()]


def diff_between(
    settings: Settings, before: datetime | None, after: datetime | None, target: str | None, noted: Noted | None = None
) -> list[DiffRow]:
    """What changed between two log times, by key.

    Raises:
        SettingsError: the second is before the first, or one is missing.
        RequestError: the first was before the log begins.
    """
    if before is None or after is None or after < before:
        raise SettingsError("TIME", "the second is before the first", "Name the earlier one first")
    changes = Changes(before, target)
    scope = Scope(target=target, until=after, compare=False, zone=settings.zone)
    report = run_session(settings, scope, changes.step, noted=noted)
    _known(settings, report, before)
    return list(changes.rows(report.entries))


def _known(settings: Settings, report: Report, moment: datetime | None) -> None:
    """Refuse what the log cannot answer any more."""
    name = load_catalogue(settings.topic_prefix).requests.name
    if moment is None or name not in report.trimmed:
        return
    first = report.trimmed[name]
    if first is None or moment < first:
        begins = (
            "nothing is left of it" if first is None else f"it goes back to {wording.instant(first, settings.zone)}"
        )
        raise RequestError(
            name, f"{begins}, and {wording.instant(moment, settings.zone)} is before that", "Ask for later"
        )


def place_order(place: str) -> tuple[str, int, int]:
    """What places are sorted by."""
    topic, partition, offset = place.rsplit("/", 2)
    return topic, int(partition), int(offset)
