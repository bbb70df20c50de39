"""Which records are copied to another topic: what is meant, what is there already, where they may go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.memory_log import CATALOGUE, CODEC, START, MemoryLog, PretendWorker

from peaktime.errors import SettingsError
from processors.copies.plan import SHOWN, Copies, headers_of_copy, why_not_there
from processors.copies.selection import Selection, of_event, offset_ranges
from processors.replay.log import FORWARDED_FROM, Place, Raw, Span, copied_from
from processors.replay.story import wanted_event
from producers.pace import Pace
from producers.publish import Publication, Publisher
from schemas.headers import REDRIVE_ROUND, REPUBLISHED_FROM, REPUBLISHED_TIME
from schemas.records import Notification, Outcome, OutcomeKind, RequestAction, ScaleRequest

REQUESTS = CATALOGUE.requests.name
ELSEWHERE = "copies.v1"


def raw(offset, *, partition=0, topic=REQUESTS, time=1000, key=b"infra", value=b"x", headers=None):
    return Raw(topic, partition, offset, time, key, value, headers)


def asked(number=1, **fields):
    starts = START + timedelta(days=3, hours=number)
    values = {
        "request_id": f"r{number}", "action": RequestAction.SCALE_OUT, "target": "infra",
        "event_date": starts.strftime("%Y-%m-%dT%H:%M"), "starts_at": starts, "ends_at": starts + timedelta(hours=1),
        "title": "Sale", "owner": "kim", "requested_at": START,
    }  # fmt: skip
    return ScaleRequest(**(values | fields))


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["3=100"], {3: ((100, 100),)}),
        (["3=100-200"], {3: ((100, 200),)}),
        (["3=100-"], {3: ((100, None),)}),
        (["3=1,0=2-4", "3=7-7"], {3: ((1, 1), (7, 7)), 0: ((2, 4),)}),
        ([], {}),
    ],
)
def test_offsets_as_people_type_them(texts, found):
    assert offset_ranges(texts) == found


@pytest.mark.parametrize("text", ["", "3", "3:5", "3=", "=3", "a=1", "3=5-4", "3=-5", "3/5", "3=1-2-3", "1=2,"])
def test_offsets_that_are_none_are_refused(text):
    with pytest.raises(SettingsError) as caught:
        offset_ranges([text])
    assert caught.value.thing == "--offsets"


def test_a_record_meets_all_that_is_asked_for():
    at = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    tick = timedelta(milliseconds=1)
    for selection, meant in (
        (Selection(), True),
        (Selection(since=at, until=at), True),
        (Selection(since=at + tick), False),
        (Selection(until=at - tick), False),
        (Selection(keys=frozenset({b"app", b"infra"})), True),
        (Selection(keys=frozenset({b"app"})), False),
        (Selection(offsets={0: ((5, 6), (7, 7))}), True),
        (Selection(offsets={0: ((7, None),)}), True),
        (Selection(offsets={0: ((5, 6),)}), False),
        (Selection(offsets={1: ((7, 7),)}), False),
        (Selection(since=at, keys=frozenset({b"app"})), False),
        (Selection(event=lambda r: r.offset == 7), True),
        (Selection(event=lambda r: r.offset == 8), False),
    ):
        assert selection.meets(raw(7)) is meant, selection
        assert selection.chooses is (selection != Selection())


def test_only_what_is_asked_for_is_read_and_what_is_gone_is_said():
    spans = [
        Span(topic="t", partition=0, start=10, end=20, low=10),
        Span(topic="t", partition=1, start=0, end=5),
    ]
    assert Selection().narrowed(spans) == spans
    chosen = Selection(offsets={0: ((3, 4), (12, 15))})
    (only,) = chosen.narrowed(spans)
    assert (only.start, only.end) == (10, 16)
    assert chosen.lost(spans) == ["t/0 begins at offset 10 now: what was before is gone"]
    later = Selection(offsets={1: ((4, 9),)})
    assert [(s.start, s.end) for s in later.narrowed(spans)] == [(4, 5)]
    assert later.lost(spans) == ["t/1 ends before offset 5: what comes after that is not there yet"]
    assert Selection(offsets={1: ((50, 60),)}).narrowed(spans)[0] == replace(spans[1], start=5)
    assert Selection(offsets={1: ((0, None),)}).lost(spans) == []
    with pytest.raises(SettingsError, match="no partition 7"):
        Selection(offsets={7: ((0, 1),)}).narrowed(spans)


def test_the_records_of_an_event_in_every_topic_that_knows_events():
    date = asked().event_date
    key = f"infra/pa/{date}"
    meant = wanted_event(date, None)
    request = of_event(meant, CATALOGUE.requests, CODEC)
    as_sent = asked(event_date=date.replace("-", "").replace("T", "").replace(":", ""))
    assert request(raw(1, value=CODEC.encode(as_sent, REQUESTS)))
    assert not request(raw(1, value=CODEC.encode(asked(2), REQUESTS)))
    assert not request(raw(1, value=b"nonsense"))
    assert not request(raw(1, value=None))
    log = MemoryLog()
    log.send(asked())
    log.send(asked(2))
    run = Outcome(outcome_id="o", kind=OutcomeKind.SCHEDULED, subject="run/x-1", target="infra", at=START, entry=key)
    log.send(run, spec=CATALOGUE.outcomes)
    log.send(replace(run, entry="", subject="run/y-1"), spec=CATALOGUE.outcomes)
    PretendWorker(log).work()
    for spec in (CATALOGUE.entries, CATALOGUE.outcomes, CATALOGUE.facts, CATALOGUE.notifications):
        wanted = of_event(meant, spec, CODEC)
        found = [r for part in log.topics[spec.name] for r in part if wanted(r)]
        every = sum(map(len, log.topics[spec.name]))
        assert 0 < len(found) < every or spec is CATALOGUE.notifications, spec.short
        if spec is CATALOGUE.notifications:
            assert {CODEC.decode(Notification, r.value).entry for r in found} == {key}
    assert of_event(meant, CATALOGUE.entries, CODEC)(raw(1, key=key.encode(), value=None))
    for spec in (CATALOGUE.deliveries, CATALOGUE.dead_letters, CATALOGUE.calendars, None):
        with pytest.raises(SettingsError, match="--event"):
            of_event(meant, spec, CODEC)


def test_a_copy_keeps_the_headers_and_names_the_place():
    headers = [
        ("ce_id", b"1"),
        ("twice", b"a"),
        ("twice", b"b"),
        ("none", None),
        (FORWARDED_FROM, b"t/1/2"),
        (REDRIVE_ROUND, b"1"),
    ]
    first = raw(7, partition=3, time=1_777_000_000_123, headers=headers)
    copied = headers_of_copy(first)
    assert copied == [
        *headers,
        (REPUBLISHED_FROM, f"{REQUESTS}/3/7".encode()),
        (REPUBLISHED_TIME, b"2026-04-24T03:06:40.123Z"),
    ]
    copy = raw(0, topic=ELSEWHERE, headers=copied)
    assert copied_from(copy) == (REQUESTS, 3, 7)
    assert copied_from(first) is None
    # A copy of a copy names the copy, once.
    again = headers_of_copy(copy)
    assert [value for name, value in again if name == REPUBLISHED_FROM] == [f"{ELSEWHERE}/0/0".encode()]


@pytest.mark.parametrize("said", [b"", b"x", b"peaktime.requests.v1/3", b"peaktime.requests.v1/a/7", b"/3/7"])
def test_a_header_that_names_no_place_is_no_copy(said):
    assert copied_from(raw(0, headers=[(REPUBLISHED_FROM, said)])) is None


def test_the_publisher_sends_headers_that_come_twice_as_they_are():
    item = Publication(CATALOGUE.requests, b"k", b"v", [("a", b"1"), ("a", b"2")])
    sent = Publisher._headers(object.__new__(Publisher), item)
    assert sent[1:] == [("a", b"1"), ("a", b"2")]
    assert sent[0][0] == "peaktime-producer"
    said = Publisher._headers(object.__new__(Publisher), replace(item, headers={"peaktime-producer": "pa"}))
    assert said == [("peaktime-producer", "pa")]


@pytest.mark.parametrize(
    ("source", "destination", "meant", "reason"),
    [
        (REQUESTS, ELSEWHERE, False, None),
        (CATALOGUE.dead_letters.name, ELSEWHERE, False, None),
        (REQUESTS, REQUESTS, False, "the topic that they come from"),
        (REQUESTS, REQUESTS, True, None),
        (ELSEWHERE, ELSEWHERE, False, "the topic that they come from"),
        (ELSEWHERE, ELSEWHERE, True, None),
        (ELSEWHERE, REQUESTS, False, "a topic that workers read"),
        (ELSEWHERE, REQUESTS, True, None),
        (CATALOGUE.outcomes.name, REQUESTS, True, "it holds requests"),
        (CATALOGUE.dead_letters.name, REQUESTS, True, "it holds requests"),
        (CATALOGUE.calendars.name, CATALOGUE.calendars.name, True, "what comes last counts"),
        (CATALOGUE.outcomes.name, CATALOGUE.outcomes.name, True, "what comes last counts"),
        (CATALOGUE.entries.name, CATALOGUE.entries.name, True, "an old row would undo newer ones"),
        (CATALOGUE.notifications.name, CATALOGUE.notifications.name, True, "only worker may write"),
        (REQUESTS, CATALOGUE.deliveries.name, True, "only sink may write"),
    ],
)
def test_where_records_may_go(source, destination, meant, reason):
    refused = why_not_there(source, destination, CATALOGUE, meant=meant)
    if reason is None:
        assert refused is None
    else:
        assert reason in refused[0]
        assert refused[1]


def test_every_topic_of_ours_but_requests_is_refused_whatever_is_said():
    for spec in CATALOGUE:
        refused = why_not_there(spec.name, spec.name, CATALOGUE, meant=True)
        assert (refused is None) is (spec is CATALOGUE.requests)


offsets = st.sets(st.tuples(st.integers(0, 2), st.integers(0, 40)), max_size=40)


@given(stand=offsets, copied=offsets, size=st.integers(1, 9))
def test_each_record_is_sent_once_whatever_was_sent_before(stand, copied, size):
    copies = Copies(source=REQUESTS, destination=ELSEWHERE, selection=Selection())
    for partition, offset in sorted(copied):
        copies.at_destination(raw(offset, topic=ELSEWHERE, headers=headers_of_copy(raw(offset, partition=partition))))
        copies.at_destination(raw(99, topic=ELSEWHERE, headers=[("a", b"b")]))
    for partition, offset in sorted(stand):
        copies.at_source(raw(offset, partition=partition))
    sent = [
        (span.partition, offset)
        for span, wanted in copies.chunks(size)
        for offset in range(span.start, span.end)
        if offset in wanted
    ]
    assert sent == sorted(stand - copied)
    assert all(len(wanted) <= size for _, wanted in copies.chunks(size))
    assert (copies.selected, copies.there, copies.to_send) == (len(stand), len(stand & copied), len(sent))
    assert len(copies.shown) == min(SHOWN, len(sent))


def test_what_is_shown_is_the_earliest_and_the_span_is_of_all_that_is_meant():
    copies = Copies(source=REQUESTS, destination=ELSEWHERE, selection=Selection(keys=frozenset({b"infra"})))
    copies.at_destination(raw(0, topic=ELSEWHERE, headers=headers_of_copy(raw(0))))
    for offset in range(20):
        copies.at_source(raw(offset, time=1000 * (offset + 1), key=b"infra" if offset % 2 == 0 else b"app"))
    assert [r.offset for r in copies.shown] == [2, 4, 6, 8, 10]
    assert (copies.first.second, copies.last.second) == (1, 19)


def test_copies_within_a_topic_are_not_copied_again():
    copies = Copies(source=REQUESTS, destination=REQUESTS, selection=Selection())
    log = [raw(0), raw(1), raw(2, headers=headers_of_copy(raw(0)))]
    for record in log:
        copies.at_destination(record)
    for record in log:
        copies.at_source(record)
    assert (copies.selected, copies.there) == (2, 1)
    assert [wanted for _, wanted in copies.chunks(10)] == [frozenset({1})]


def test_the_fold_recognises_what_is_sent_again_to_its_own_topic():
    log = MemoryLog()
    first = asked()
    for request in (
        first,
        replace(first, request_id="r1b", title="Bigger", requested_at=START + timedelta(minutes=1)),
        replace(first, request_id="r1c", action=RequestAction.DELETE, requested_at=START + timedelta(minutes=2)),
        asked(2),
    ):
        log.send(request)
    worker = PretendWorker(log)
    worker.work()
    before = {key: replace(e, position=0, log_time=START, verdict=None) for key, e in entries(worker).items()}
    told = len(log.find(CATALOGUE.notifications.name, lambda _: True))
    for record in log.find(REQUESTS, lambda _: True):
        log.put(REQUESTS, record.key, record.value, headers=headers_of_copy(record))
    worker.work()
    after = entries(worker)
    assert {e.verdict.kind.value for e in after.values()} == {"DUPLICATE"}
    assert {key: replace(e, position=0, log_time=START, verdict=None) for key, e in after.items()} == before
    assert len(log.find(CATALOGUE.notifications.name, lambda _: True)) >= told


def entries(worker):
    return {entry.key: entry for _, entry in worker.refold.entries()}


def test_a_pace_lets_so_many_pass_and_makes_up_for_nothing():
    now, slept = [0.0], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(10, clock=lambda: now[0], sleep=sleep)
    for _ in range(3):
        pace.wait(5)
    assert slept == pytest.approx([0.5, 0.5])
    now[0] += 60
    slept.clear()
    for _ in range(3):
        pace.wait(5)
    assert slept == pytest.approx([0.5, 0.5])


def test_a_place_is_written_as_it_is_read():
    place = Place("a/b", 1, 2)
    assert copied_from(raw(0, headers=[(REPUBLISHED_FROM, str(place).encode())])) == place
