"""The folds again, without Kafka: the guard's rules, redeliveries, restarts, and where every request went."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors import guard
from processors.replay import log
from processors.replay.log import FORWARDED_FROM, Place, Raw, partition_of
from processors.replay.refold import Accounts, Fate, Refold
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.records import (
    CalendarDay,
    CalendarSnapshot,
    Outcome,
    OutcomeKind,
    RequestAction,
    ScaleRequest,
    VerdictKind,
)

PARTITIONS = 4
CATALOGUE = load_catalogue("peaktime.").with_partitions(PARTITIONS)
REQUESTS, OUTCOMES, CALENDARS = CATALOGUE.requests.name, CATALOGUE.outcomes.name, CATALOGUE.calendars.name
CODEC = Codec()
START = datetime(2026, 5, 1, tzinfo=UTC)


def request(number=1, **fields):
    starts = START + timedelta(days=3, hours=number)
    values = {
        "request_id": f"r{number}",
        "action": RequestAction.SCALE_OUT,
        "target": "infra",
        "event_date": starts.strftime("%Y-%m-%dT%H:%M"),
        "starts_at": starts,
        "ends_at": starts + timedelta(hours=1),
        "title": "Sale",
        "owner": "kim",
        "requested_at": START,
    }
    return ScaleRequest(**(values | fields))


def raw(record, offset, *, topic=REQUESTS, key=None, partition=None, at=START, headers=None):
    own = getattr(record, "target", "") if not isinstance(record, CalendarSnapshot) else record.calendar_id
    name = (key or own).encode()
    where = partition_of(name, PARTITIONS) if partition is None else partition
    millis = int(at.timestamp() * 1000)
    return Raw(topic, where, offset, millis, name, CODEC.encode(record, topic), headers)


def refold(letters=None):
    return Refold(CODEC, CATALOGUE, letters)


def state(folded):
    return list(folded.entries()), list(folded.facts()), list(folded.calendars())


def test_the_rules_of_placement_are_the_guards():
    assert log.FORWARDED_FROM == guard.FORWARDED_FROM
    for name in ("infra", "app-7", "한국", ""):
        assert partition_of(name.encode(), 12) == guard.partition_of(name.encode(), 12)


def test_each_request_meets_its_fate():
    first = request()
    elsewhere = (partition_of(b"infra", PARTITIONS) + 1) % PARTITIONS
    nonsense = raw(first, 6)._replace(value=b"\x7fnonsense")
    misplaced = raw(request(3), 0, partition=elsewhere)
    again = misplaced._replace(offset=1, headers=[(FORWARDED_FROM, b"peaktime.requests.v1/2/0")])
    cases = [
        (raw(first, 0), Fate.ACCEPTED),
        (raw(first, 1), Fate.DUPLICATE),
        (raw(replace(first, request_id="r1b", title="Other"), 2), Fate.REPLACED),
        (raw(replace(first, request_id="r1c", action=RequestAction.DELETE), 3), Fate.WITHDRAWN),
        (raw(replace(first, request_id="r1d"), 4), Fate.STALE),
        (raw(request(2, title="{{no}}"), 5), Fate.REJECTED),
        (nonsense, Fate.DEAD_LETTERED),
        (nonsense._replace(offset=7, value=None), Fate.DEAD_LETTERED),
        (misplaced, Fate.FORWARDED),
        (again, Fate.DEAD_LETTERED),
        (raw(request(4), 8, key="another"), Fate.FORWARDED),
    ]
    folded, accounts = refold(), Accounts()
    for record, fate in cases:
        step = folded.take(record)
        assert (step.fate, step.place) == (fate, record.place)
        accounts.count(step.fate, reached=True)
    accounts.count(Fate.ACCEPTED, reached=False)
    assert accounts.balanced
    assert (accounts.read, accounts.not_yet_read, accounts.fates[Fate.DEAD_LETTERED]) == (12, 1, 3)
    assert [entry.verdict.kind for _, entry in folded.entries()] == [VerdictKind.STALE, VerdictKind.REJECTED]


def test_what_was_put_aside_then_stays_aside_even_if_it_can_be_read_now():
    record = raw(request(), 0)
    folded = refold({Place(REQUESTS, record.partition, 0): "unknown-schema"})
    step = folded.take(record)
    assert (step.fate, step.code) == (Fate.DEAD_LETTERED, "unknown-schema")
    assert state(folded) == ([], [], [])


def test_a_fold_that_raises_is_a_dead_letter_and_the_rest_goes_on(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("no")

    folded = refold()
    monkeypatch.setattr("processors.replay.refold.fold_snapshot", broken)
    snapshot = CalendarSnapshot(
        calendar_id="kr",
        taken_at=START,
        covers_from=START.date(),
        covers_to=START.date(),
        target="infra",
    )
    step = folded.take(raw(snapshot, 0, topic=CALENDARS))
    assert (step.fate, step.code) == (Fate.DEAD_LETTERED, "internal")
    assert folded.take(raw(request(), 0)).fate is Fate.ACCEPTED


def test_log_time_is_exact_to_the_millisecond():
    at = datetime(2026, 5, 1, 1, 2, 3, 457_000, tzinfo=UTC)
    folded = refold()
    folded.take(raw(request(), 0, at=at))
    ((_, entry),) = folded.entries()
    assert entry.log_time == at
    assert CODEC.decode(type(entry), CODEC.encode(entry, CATALOGUE.entries.name)) == entry


TARGETS = st.sampled_from(["infra", "app", "shop", "pay"])
STEPS = st.timedeltas(timedelta(0), timedelta(days=20))


@st.composite
def _requests(draw):
    action = draw(st.sampled_from([RequestAction.SCALE_OUT, RequestAction.SCALE_IN, RequestAction.DELETE]))
    return request(
        draw(st.integers(1, 4)),
        request_id=draw(st.sampled_from([f"id{n}" for n in range(8)])),
        action=action,
        target=draw(TARGETS),
        title=draw(st.sampled_from(["Sale", "Show", "{{bad}}"])),
        owner=draw(st.sampled_from(["kim", "lee"])),
        revision=draw(st.none() | st.integers(0, 3)),
        requested_at=START + draw(STEPS),
        starts_at=START + timedelta(hours=draw(st.integers(0, 2000))),
        ends_at=START + timedelta(hours=draw(st.integers(0, 2000))),
    )


@st.composite
def _outcomes(draw):
    target = draw(TARGETS)
    run = draw(st.integers(0, 3))
    return Outcome(
        outcome_id=f"o{run}",
        kind=draw(st.sampled_from(list(OutcomeKind))),
        subject=draw(st.sampled_from([f"run/x-{run}", f"problem/late/{run}"])),
        target=target,
        at=START,
        fires_at=START + timedelta(hours=run),
    )


@st.composite
def _snapshots(draw):
    days = draw(st.sets(st.integers(3, 40), max_size=4))
    first = START.date()
    return CalendarSnapshot(
        calendar_id=draw(st.sampled_from(["kr", "us"])),
        taken_at=START,
        covers_from=first,
        covers_to=first + timedelta(days=200),
        days=tuple(CalendarDay(date=first + timedelta(days=n), name="Day") for n in sorted(days)),
        target="infra",
    )


@st.composite
def logs(draw):
    """Records of all three topics as they would stand on the log, some under a wrong key."""
    at, ends, records = START, {}, []
    sources = st.sampled_from([(REQUESTS, _requests()), (OUTCOMES, _outcomes()), (CALENDARS, _snapshots())])
    for _ in range(draw(st.integers(1, 15))):
        topic, records_of = draw(sources)
        at += draw(STEPS)
        at = at.replace(microsecond=0)
        record = raw(draw(records_of), 0, topic=topic, at=at, key=draw(st.sampled_from([None, None, None, "wrong"])))
        place = topic, record.partition
        # Compaction and transaction markers leave holes.
        offset = ends.get(place, -1) + draw(st.integers(1, 3))
        ends[place] = offset
        records.append(record._replace(offset=offset))
    return records


def by_partition(records):
    parts = {}
    for record in records:
        parts.setdefault((record.topic, record.partition), []).append(record)
    return parts


@given(logs(), st.data())
@settings(deadline=None)
def test_redeliveries_change_nothing(records, data):
    once = refold()
    for record in records:
        once.take(record)
    again, taken = refold(), []
    for record in records:
        again.take(record)
        taken.append(record)
        back = data.draw(st.integers(0, min(3, len(taken))))
        for old in taken[len(taken) - back :]:
            again.take(old)
    assert state(again) == state(once)


@given(logs(), st.data())
@settings(deadline=None)
def test_how_partitions_interleave_does_not_matter(records, data):
    once = refold()
    for record in records:
        once.take(record)
    parts = by_partition(records)
    other = refold()
    while any(parts.values()):
        place = data.draw(st.sampled_from([place for place, rest in parts.items() if rest]))
        other.take(parts[place].pop(0))
    assert [dict(rows) for rows in _keyed(other)] == [dict(rows) for rows in _keyed(once)]


@given(logs(), st.data())
@settings(deadline=None)
def test_a_fold_that_goes_on_from_its_rows_comes_to_the_same(records, data):
    once = refold()
    for record in records:
        once.take(record)
    cut = data.draw(st.integers(0, len(records)))
    first = refold()
    for record in records[:cut]:
        first.take(record)
    second = refold()
    second.seed(row for rows in state(first) for row in rows)
    # Rows are dropped 30 days after their end, by log time, so nothing older than that may be delivered again.
    recent = [n for n in range(cut) if records[cut - 1].log_time - records[n].log_time < timedelta(days=30)]
    back = data.draw(st.integers(0, len(recent)))
    for record in records[cut - back :]:
        second.take(record)
    assert [dict(rows) for rows in _keyed(second)] == [dict(rows) for rows in _keyed(once)]


def _keyed(folded):
    entries, facts, calendars = state(folded)
    return (
        [((partition, row.key), row) for partition, row in entries],
        [((partition, row.target, row.subject), row) for partition, row in facts],
        [((partition, row.calendar_id), row) for partition, row in calendars],
    )


@given(logs(), st.integers(0, 25))
@settings(deadline=None)
def test_every_request_is_accounted_for(records, reached):
    folded, accounts = refold(), Accounts()
    for number, record in enumerate(records):
        step = folded.take(record)
        if step.topic == "requests":
            accounts.count(step.fate, reached=number < reached)
    assert accounts.balanced
    assert accounts.read == sum(record.topic == REQUESTS for record in records)


@pytest.mark.parametrize("zone_of_rows", ["entries", "facts", "calendar_states"])
def test_rows_come_back_from_bytes_unchanged(zone_of_rows):
    spec = getattr(CATALOGUE, zone_of_rows)
    folded = refold()
    folded.take(raw(request(), 0))
    folded.take(
        raw(
            Outcome(outcome_id="o", kind=OutcomeKind.SCHEDULED, subject="run/x-1", target="infra", at=START),
            0,
            topic=OUTCOMES,
        ),
    )
    folded.take(
        raw(
            CalendarSnapshot(
                calendar_id="kr",
                taken_at=START,
                covers_from=START.date(),
                covers_to=START.date() + timedelta(days=90),
                days=(CalendarDay(date=START.date() + timedelta(days=10), name="Day"),),
                target="infra",
            ),
            0,
            topic=CALENDARS,
        ),
    )
    rows = {"entries": folded.entries(), "facts": folded.facts(), "calendar_states": folded.calendars()}[zone_of_rows]
    ((_, row),) = rows
    assert CODEC.decode(type(row), CODEC.encode(row, spec.name)) == row
