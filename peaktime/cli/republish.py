"""``peaktime republish``: copy a selection of a topic to another one.

For: operators, who move a topic, or look at some of its records apart. Bytes, key and headers stay; a header names
where the record stood. Must not: remember anything but in the destination, or write where an old record undoes newer
ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from peaktime import logs
from peaktime.cli.reading import Progress, instant, open_codec, open_log
from peaktime.cli.tables import show
from peaktime.cli.wiring import open_publisher
from peaktime.core import wording
from peaktime.errors import BrokerError, DecodeError, PublishError, RequestError, SchemaUnavailableError
from peaktime.kafka import RIGHTS
from peaktime.settings import Settings
from processors.copies.plan import Copies, headers_of_copy, why_not_there
from processors.copies.selection import Selection, of_event, offset_ranges
from processors.letters.look import printable
from processors.replay.log import Raw
from processors.replay.reader import LogReader
from processors.replay.story import requests_told, wanted_event
from producers.pace import Pace
from producers.publish import Publication, Publisher
from schemas.catalogue import Catalogue, TopicSpec, load_catalogue
from schemas.codec import Codec
from schemas.headers import record_id
from schemas.records import ScaleRequest

#: Records that are sent at once: at most this many, this many bytes, and about a tenth of what a second lets pass.
_MOST_AT_ONCE = 100
_BYTES_AT_ONCE = 4 << 20
_PARTS_OF_SECOND = 10


def command(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A topic: requests, outcomes, ..., or its full name.")],
    destination: Annotated[str, typer.Argument(metavar="TO", help="The topic to copy to; it must be there.")],
    *,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Records of this log time or later.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Records of this log time or earlier.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="Records with this key; may be repeated.")] = None,
    event: Annotated[
        str | None, typer.Option(metavar="KEY", help="Records of this event: infra/pa/2026-05-04, or its event date.")
    ] = None,
    offsets: Annotated[
        list[str] | None,
        typer.Option(metavar="PARTITION=FIRST-LAST", help="Records in this place, both included; may be repeated."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="The whole topic.")] = False,
    i_mean_it: Annotated[bool, typer.Option("--i-mean-it", help="Also to a topic that workers read.")] = False,
    rate: Annotated[float, typer.Option(min=0.1, help="Records a second, at most.")] = 500.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent; send nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Copy records to another topic: same bytes, key and headers, and a header that says where each stood.

    A record meets all that is asked for. What is at the destination already is not sent again: if it was cut short, run
    it again. To the topic itself, or another that workers read, only with --i-mean-it; the fold recognises the copies.
    """
    settings = Settings.load()
    logs.configure(settings)
    catalogue = load_catalogue(settings.topic_prefix)
    source, destination = _full_name(source, catalogue), _full_name(destination, catalogue)
    codec, spec = open_codec(settings), catalogue.by_name(source)
    selection = Selection(
        since=instant(since, settings.tz, "--from"),
        until=instant(until, settings.tz, "--until"),
        keys=frozenset(text.encode() for text in key or ()),
        offsets=offset_ranges(offsets or ()),
        event=None if event is None else of_event(wanted_event(event, None, settings.zone), spec, codec),
    )
    if selection.chooses == every:
        raise typer.BadParameter("say what is meant: --from, --until, --key, --event or --offsets; or --all")
    refused = why_not_there(source, destination, catalogue, meant=i_mean_it)
    if refused is not None:
        raise RequestError(f"copying to {destination}", *refused)
    with open_log(settings) as log:
        known = catalogue.by_name(destination) is not None
        copies = _look(log, source, destination, selection, known=known)
        sent = 0
        if not dry_run and copies.to_send:
            with open_publisher(settings, "republish") as publisher:
                sent = _send(log, publisher, copies, _spec_of(destination, catalogue), rate, known=known)
    if not copies.selected:
        typer.echo(f"peaktime: no record of {source} is what was asked for; widen the selection", err=True)
    if as_json:
        typer.echo(json.dumps(_summary(copies, codec, spec, settings, sent=sent, dry_run=dry_run), ensure_ascii=False))
    elif dry_run:
        _show(copies, codec, spec, settings, rate)
    else:
        lost = copies.to_send - sent
        gone = f", {lost} went away meanwhile" if lost else ""
        typer.echo(f"{sent} copied to {destination}, {copies.there} were there already{gone}")


def _full_name(name: str, catalogue: Catalogue) -> str:
    return next((spec.name for spec in catalogue if name in (spec.short, spec.name)), name)


def _spec_of(name: str, catalogue: Catalogue) -> TopicSpec:
    """A topic to write bytes to; one that the catalogue does not know is as large as the largest of ours."""
    known = catalogue.by_name(name)
    return known if known is not None else replace(catalogue.dead_letters, name=name, short=name)


def _remedy(error: BrokerError | PublishError, *, known: bool) -> str:
    """What to do, where the topic is none of the catalogue's."""
    if known:
        return error.remedy
    if error.remedy == RIGHTS:
        return "Give this user READ and WRITE on it"
    return "Create it first: its partitions are fixed for life" if "is not there" in error.reason else error.remedy


def _look(log: LogReader, source: str, destination: str, selection: Selection, *, known: bool) -> Copies:
    """Read the destination, then the source, each to where it ends now."""
    try:
        there = log.spans([destination])
    except BrokerError as error:
        raise BrokerError(error.thing, error.reason, _remedy(error, known=known)) from error
    every = log.spans([source])
    spans = selection.narrowed(every)
    for sentence in selection.lost(every):
        typer.echo(f"peaktime: {sentence}", err=True)
    copies = Copies(source=source, destination=destination, selection=selection)
    total = sum(span.end - span.start for span in (*there, *spans))
    with Progress(shown=True) as progress:
        for raw in log.read(there, lambda done: progress.moved(total, done)):
            copies.at_destination(raw)
        for raw in log.read(spans, lambda done: progress.moved(total, done)):
            copies.at_source(raw)
    return copies


def _send(log: LogReader, publisher: Publisher, copies: Copies, spec: TopicSpec, rate: float, *, known: bool) -> int:
    """Send what is to be sent; how many were.

    Raises:
        PublishError: saying how many are sent.
    """
    pace, sent = Pace(rate), 0
    at_once = max(1, min(_MOST_AT_ONCE, int(rate / _PARTS_OF_SECOND)))
    with Progress(shown=True, what="copying") as progress:
        progress.moved(copies.to_send, 0)
        # About a second's worth is read at a time, so that the reading never waits long for the sending.
        for span, offsets in copies.chunks(at_once * _PARTS_OF_SECOND if rate >= _PARTS_OF_SECOND else 1):
            for batch in _batches((raw for raw in log.read([span]) if raw.offset in offsets), at_once):
                pace.wait(len(batch))
                try:
                    publisher.publish_many(Publication(spec, raw.key, raw.value, headers_of_copy(raw)) for raw in batch)
                except PublishError as error:
                    more = f"{sent} are copied; run the same command again, and it goes on from there"
                    raise PublishError(error.thing, error.reason, f"{_remedy(error, known=known)}. {more}") from error
                sent += len(batch)
                progress.moved(copies.to_send, len(batch))
    return sent


def _batches(raws: Iterable[Raw], count: int) -> Iterator[list[Raw]]:
    batch: list[Raw] = []
    size = 0
    for raw in raws:
        batch.append(raw)
        size += len(raw.value or b"")
        if len(batch) >= count or size >= _BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _summary(
    copies: Copies, codec: Codec, spec: TopicSpec | None, settings: Settings, *, sent: int, dry_run: bool
) -> dict[str, Any]:
    def instant_of(value: Any) -> str | None:
        return None if value is None else value.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    return {
        "source": copies.source,
        "destination": copies.destination,
        "dryRun": dry_run,
        "selected": copies.selected,
        "alreadyThere": copies.there,
        "sent": sent,
        "from": instant_of(copies.first),
        "to": instant_of(copies.last),
        "first": [
            {
                "place": str(raw.place),
                "time": instant_of(raw.log_time),
                "key": _key(raw),
                "bytes": len(raw.value or b""),
                "what": _what(raw, codec, spec, settings.zone),
            }
            for raw in copies.shown
        ],
    }


def _show(copies: Copies, codec: Codec, spec: TopicSpec | None, settings: Settings, rate: float) -> None:
    span = ""
    if copies.first is not None and copies.last is not None:
        span = f", from {wording.instant(copies.first, settings.zone)} to {wording.instant(copies.last, settings.zone)}"
    typer.echo(f"{copies.selected} records of {copies.source} are meant{span}.")
    typer.echo(
        f"{copies.there} are in {copies.destination} already; {copies.to_send} would be copied, "
        f"which takes {copies.to_send / rate:,.0f} s."
    )
    if not copies.shown:
        return
    table = Table("place", "log time", "key", "bytes", "what")
    for raw in copies.shown:
        table.add_row(
            str(raw.place),
            wording.instant(raw.log_time, settings.zone),
            Text(printable(_key(raw) or "")),
            str(len(raw.value or b"")),
            Text(printable(_what(raw, codec, spec, settings.zone))),
        )
    show(table)
    if copies.to_send > len(copies.shown):
        typer.echo(f"and {copies.to_send - len(copies.shown)} more")


def _key(raw: Raw) -> str | None:
    return None if raw.key is None else raw.key.decode(errors="replace")


def _what(raw: Raw, codec: Codec, spec: TopicSpec | None, zone: str) -> str:
    """A record in a few words; empty if nobody knows."""
    if raw.value is None or spec is None or spec.record is None:
        return ""
    try:
        record = codec.decode(spec.record, raw.value)
    except (DecodeError, SchemaUnavailableError):
        return "cannot be read"
    return requests_told(record, zone) if isinstance(record, ScaleRequest) else record_id(record)
