"""``peaktime dead-letters``: what could not be understood, why, and what became of it.

For: operators. ``list`` and ``show`` only read. Must not: change or delete a letter; ``redrive`` and ``discard`` add a
record that says what became of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from peaktime import logs
from peaktime.cli.reading import open_codec, open_log
from peaktime.cli.tables import show
from peaktime.cli.wiring import open_publisher
from peaktime.errors import RequestError
from peaktime.settings import Settings
from processors.letters.ledger import (
    MOST_ROUNDS,
    Fate,
    Ledger,
    Letter,
    State,
    counts,
    fate_record,
    headers_again,
    rows,
    why_not_again,
)
from processors.letters.look import dump, look_at, printable
from processors.replay.log import Raw, Span
from producers.publish import Publisher
from schemas.catalogue import Catalogue, load_catalogue

EXIT_REFUSED = 1

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Look at what could not be understood; send it again."
)

_Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Letters, topic/partition/offset as `list` says.")]
_Who = Annotated[str, typer.Option(help="Who does this.")]
_Why = Annotated[str, typer.Option(help="Why.")]


@app.command(name="list")
def list_letters(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    state: Annotated[State | None, typer.Option(help="Only letters of this state.")] = None,
) -> None:
    """Show how many letters there are by reason, and what became of each."""
    settings, catalogue = _settings()
    ledger = _read(settings, catalogue)
    every = ledger.letters()
    chosen = [letter for letter in every if state is None or letter.state is state]
    by_reason = counts(every)
    if as_json:
        told = {code: {str(s): found[s] for s in State} for code, found in by_reason.items()}
        typer.echo(json.dumps({"counts": told, "letters": list(rows(chosen))}, ensure_ascii=False))
        return
    if not every:
        typer.echo("there are no dead letters")
        return
    totals = Table("reason", *(str(s) for s in State))
    for code, found in by_reason.items():
        totals.add_row(Text(code), *(str(found[s]) for s in State))
    show(totals)
    table = Table("letter", "put aside", "reason", "stage", "key", "bytes", "round", "state")
    for letter in chosen:
        table.add_row(
            letter.id,
            f"{letter.log_time.astimezone(settings.tz):%Y-%m-%d %H:%M:%S}",
            Text(letter.code),
            Text(letter.stage),
            Text(_key(letter)),
            str(letter.size),
            str(letter.round or ""),
            Text(_state(letter)),
        )
    show(table)


@app.command(name="show")
def show_letter(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="The letter, topic/partition/offset.")],
) -> None:
    """Show a letter's bytes beside the reason, and as much of its record as can be read."""
    settings, catalogue = _settings()
    ledger = _read(settings, catalogue)
    letter = _known(ledger, letter_id)
    (raw,) = _with_bytes(settings, [letter])
    spec = catalogue.by_name(letter.source.topic) if letter.source is not None else None
    seen = look_at(raw.value, spec.record if spec is not None else None, open_codec(settings))
    facts = [
        ("letter", letter.id),
        ("state", _state(letter)),
        ("reason", f"{letter.code}: {letter.reason}"),
        ("stage", letter.stage),
        ("put aside", f"{letter.log_time.astimezone(settings.tz):%Y-%m-%d %H:%M:%S %Z}"),
        ("key", _key(letter)),
        ("round", f"{letter.round} of {MOST_ROUNDS}" if letter.round else ""),
        ("again from", letter.redriven_from),
        ("framing", seen.framing),
        *seen.fields,
        ("stops", seen.stops),
        ("today", seen.today),
        *((f"header {name}", (value or b"").decode(errors="replace")) for name, value in _found_with(raw)),
    ]
    table = Table("bytes", "reason, and what can be read", show_lines=False)
    table.columns[0].no_wrap = True
    words = Text("\n".join(printable(f"{name}: {value}") for name, value in facts if value))
    table.add_row(Text("\n".join(dump(raw.value or b"", seen.stopped_at))), words)
    show(table)


@app.command()
def redrive(
    *,
    letter_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Letters to send again.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All letters that are open.")] = False,
    reason: Annotated[str | None, typer.Option(help="With --all: only letters of this reason.")] = None,
    who: _Who = "",
    why: _Why = "",
) -> None:
    """Send letters back to the topic where they were found: the same bytes, key and headers, and the round.

    A record that still cannot be understood becomes a letter again, three times at most. Ends with 1 if a letter that
    was chosen was not sent.
    """
    if bool(letter_ids) == every or (reason is not None and not every):
        raise typer.BadParameter("name letters, or give --all, with --reason CODE for some of them")
    settings, catalogue = _settings()
    ledger = _read(settings, catalogue)
    if letter_ids:
        chosen = [_known(ledger, letter_id) for letter_id in dict.fromkeys(letter_ids)]
    else:
        chosen = [
            letter
            for letter in ledger.letters()
            if letter.state is State.OPEN and (reason is None or letter.code == reason)
        ]
    refused = {letter.id: why_not for letter in chosen if (why_not := why_not_again(letter, catalogue)) is not None}
    for letter_id, why_not in refused.items():
        typer.echo(f"{letter_id} is not sent again: {why_not}", err=True)
    wanted = {letter.place: letter for letter in chosen if letter.id not in refused}
    with open_publisher(settings, "dead-letters") as publisher:
        for raw in _with_bytes(settings, wanted.values()):
            _send_again(publisher, wanted[raw.place], raw, who or settings.kafka_username or "", why)
    typer.echo(f"{len(wanted)} sent again, {len(refused)} not")
    if not chosen:
        meant = "no letter is open" if reason is None else f"no open letter has the reason {reason!r}"
        typer.echo(f"peaktime: {meant}; `peaktime dead-letters list` shows all", err=True)
    if refused:
        raise typer.Exit(EXIT_REFUSED)


@app.command()
def discard(letter_ids: _Ids, *, who: _Who, why: _Why) -> None:
    """Say that nothing more will be done about letters. They stay where they are, with who and why."""
    if not who.strip() or not why.strip():
        raise typer.BadParameter("say who does this, and why: it is kept")
    settings, catalogue = _settings()
    ledger = _read(settings, catalogue)
    chosen = [_known(ledger, letter_id) for letter_id in dict.fromkeys(letter_ids)]
    with open_publisher(settings, "dead-letters") as publisher:
        for letter in chosen:
            _note(publisher, letter, Fate(state=State.DISCARDED, who=who, why=why, at=datetime.now(UTC)))
    typer.echo(f"{len(chosen)} discarded")


def _settings() -> tuple[Settings, Catalogue]:
    settings = Settings.load()
    logs.configure(settings)
    return settings, load_catalogue(settings.topic_prefix)


def _read(settings: Settings, catalogue: Catalogue) -> Ledger:
    """Every letter there is now. Raises BrokerError."""
    ledger = Ledger()
    with open_log(settings) as log:
        for raw in log.read(log.spans([catalogue.dead_letters.name])):
            ledger.take(raw)
    return ledger


def _known(ledger: Ledger, letter_id: str) -> Letter:
    letter = ledger.get(letter_id)
    if letter is None:
        raise RequestError(
            f"dead letter {letter_id}", "is not there", "See `peaktime dead-letters list` for all of them"
        )
    return letter


def _with_bytes(settings: Settings, letters: Iterable[Letter]) -> Iterator[Raw]:
    """The records of letters, those of one partition in order; read anew, since nobody keeps all their bytes."""
    places = {letter.place for letter in letters}
    ends: dict[tuple[str, int], tuple[int, int]] = {}
    for topic, partition, offset in places:
        low, high = ends.get((topic, partition), (offset, offset))
        ends[topic, partition] = min(low, offset), max(high, offset)
    spans = [
        Span(topic=topic, partition=number, start=low, end=high + 1) for (topic, number), (low, high) in ends.items()
    ]
    with open_log(settings) as log:
        for raw in log.read(spans):
            if raw.place in places:
                yield raw


def _send_again(publisher: Publisher, letter: Letter, raw: Raw, who: str, why: str) -> None:
    """Send it, then say so: cut short between the two, it is sent twice, which the folds recognise."""
    spec = publisher.catalogue.by_name(letter.source.topic) if letter.source is not None else None
    if spec is None:
        raise AssertionError(f"{letter.id} should have been refused")
    to = publisher.publish(spec, raw.key, raw.value, headers_again(raw))
    fate = Fate(
        state=State.REDRIVEN, who=who, why=why, at=datetime.now(UTC), round=letter.round + 1, to=str(to),
    )  # fmt: skip
    _note(publisher, letter, fate)
    typer.echo(f"{letter.id} is sent again as {to}, round {fate.round} of {MOST_ROUNDS}")


def _note(publisher: Publisher, letter: Letter, fate: Fate) -> None:
    key, value, headers = fate_record(letter.id, fate)
    publisher.publish(publisher.catalogue.dead_letters, key, value, headers)


def _found_with(raw: Raw) -> list[tuple[str, bytes | None]]:
    again = headers_again(raw)
    return [(name, value) for name, value in raw.headers or () if name in again]


def _key(letter: Letter) -> str:
    return "" if letter.key is None else printable(letter.key.decode(errors="replace"))


def _state(letter: Letter) -> str:
    fate = letter.fate
    if fate is None:
        return str(letter.state)
    how = f" (round {fate.round}, as {fate.to})" if fate.state is State.REDRIVEN else ""
    whom = f" by {printable(fate.who)}" if fate.who else ""
    return f"{fate.state}{how}{whom}" + (f": {printable(fate.why)}" if fate.why else "")
