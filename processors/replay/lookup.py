"""Which event somebody means: by its key, by its event date in any accepted form, or by the name of one of its runs.

Pure, but for ``run_on_log``, which reads the outcomes. Must not: guess; what is ambiguous is said with what it may be.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from peaktime.core.requests import canonical_event_date
from peaktime.core.wording import one_line
from peaktime.errors import DecodeError, PeaktimeError
from processors.replay.findings import Log
from processors.replay.outlook import Outlook
from processors.replay.standing import Standing
from schemas.codec import Codec
from schemas.records import Outcome

_KEY_PARTS = 3
_CANDIDATES = 5
_NEAR = 3


@dataclass(frozen=True, slots=True)
class Sought:
    """What somebody typed.

    Attributes:
        text: as it was typed.
        key: if it is a full key, that, with its date in the canonical form.
        date: if it is an event date, its canonical form.
        run: otherwise: the name of a run or of a CronWorkflow.
    """

    text: str
    key: str | None = None
    date: str | None = None
    run: str | None = None


def sought(text: str, date: str | None = None) -> Sought:
    """Understand what somebody typed.

    Args:
        text: as it was typed.
        date: its canonical form, if it is a date in a form that only a zone makes clear (one with an offset).
    """
    words = text.strip()
    found = date or canonical_event_date(words)
    if found is not None:
        return Sought(text, date=found)
    parts = words.split("/")
    if len(parts) == _KEY_PARTS:
        return Sought(text, key="/".join([*parts[:2], canonical_event_date(parts[2]) or parts[2]]))
    return Sought(text, run=words.removeprefix("run/"))


def meant(what: Sought, keys: Iterable[str], *, target: str | None = None, origin: str | None = None) -> list[str]:
    """The keys that are meant, of those that there are; for a key or a date."""
    return sorted(
        key
        for key in set(keys)
        if (key == what.key if what.key is not None else key.rpartition("/")[2] == what.date)
        and _of(key, target, origin)
    )


def known_runs(standing: Standing, outlooks: Iterable[Outlook]) -> dict[str, set[str]]:
    """By name of a run or a CronWorkflow, the keys of the events that it belongs to, as things stand."""
    found: dict[str, set[str]] = {}
    for fact in standing.each_fact():
        for name in (fact.outcome.workflow, fact.outcome.cron_workflow):
            if name and fact.outcome.entry:
                found.setdefault(name, set()).add(fact.outcome.entry)
    for whole in outlooks:
        for row in whole.firings:
            for name in (row.run, row.cron_workflow):
                found.setdefault(name, set()).add(row.entry)
    return found


def run_on_log(name: str, log: Log, codec: Codec, topic: str) -> set[str]:
    """The same from all outcomes on the log, for a run that is long forgotten.

    Args:
        name: of the run or of the CronWorkflow.
        log: reads topics.
        codec: reads records.
        topic: full name of ``outcomes.v1``.
    """
    found = set()
    for raw in log.read(log.spans([topic])):
        if raw.value is None or name.encode() not in raw.value:
            continue
        try:
            outcome = codec.decode(Outcome, raw.value)
        except DecodeError:
            continue  # A dead letter, and told as one.
        if outcome.entry and name in (outcome.workflow, outcome.cron_workflow):
            found.add(outcome.entry)
    return found


def only_one(
    what: Sought,
    keys: Iterable[str],
    titles: Mapping[str, str],
    runs: Mapping[str, str] | None = None,
) -> str:
    """The one event that is meant.

    Args:
        what: what somebody typed.
        keys: the events that it may be.
        titles: by key, what the events that there are, are called.
        runs: by name, the event of each run and CronWorkflow; for a name.

    Raises:
        PeaktimeError: it is none, or several; with those that it may be.
    """
    found = sorted(keys)
    if len(found) == 1:
        return found[0]
    thing = f"event {one_line(what.text)}"
    if found:
        named = _named(found, titles)
        raise PeaktimeError(
            thing, f"{len(found)} are meant: {named}", "Name one by its key, or add --target or --origin"
        )
    near = _near(what, titles, runs or {})
    reason = "there is no such event"
    if what.run is not None:
        reason = "it is no event date, and there is no run or CronWorkflow of this name"
    if near:
        reason += f"; near are {_named(near, titles)}"
    raise PeaktimeError(
        thing, reason, "`peaktime schedule` shows what is to come, `peaktime audit requests` all there was"
    )


def _named(keys: list[str], titles: Mapping[str, str]) -> str:
    named = [f"{key} {one_line(titles[key], 30)!r}" if titles.get(key) else key for key in keys[:_CANDIDATES]]
    return ", ".join(named) + (f" and {len(keys) - _CANDIDATES} more" if len(keys) > _CANDIDATES else "")


def _near(what: Sought, titles: Mapping[str, str], runs: Mapping[str, str]) -> list[str]:
    """Up to three events that may have been meant."""
    if what.run is not None:
        names = difflib.get_close_matches(what.run, runs, n=_NEAR, cutoff=0.6)
        return list(dict.fromkeys(runs[name] for name in names))
    if what.key is not None:
        return difflib.get_close_matches(what.key, titles, n=_NEAR, cutoff=0.6)
    dated = [(day, key) for key in titles if (day := _day(key)) is not None]
    wanted = _day(f"/{what.date}")
    if wanted is None:
        return []
    return sorted(key for _, key in sorted(dated, key=lambda found: (abs(found[0] - wanted), found[1]))[:_NEAR])


def _day(key: str) -> date | None:
    """The day of an event by its key; None for one that has none, as a pause or a refused request."""
    try:
        return date.fromisoformat(key.rpartition("/")[2][:10])
    except ValueError:
        return None


def _of(key: str, target: str | None, origin: str | None) -> bool:
    mine = key.split("/")
    return target in (None, mine[0]) and origin in (None, mine[1])
