"""Dead letters: known by where the record was found, with their fates beside them; and what can be seen of their bytes."""

import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wire import FakeRegistry, changed, framed, golden, golden_record, single, written_with

from processors.letters.ledger import (
    MOST_ROUNDS,
    Fate,
    Ledger,
    State,
    counts,
    fate_record,
    headers_again,
    letter_of,
    rows,
    why_not_again,
)
from processors.letters.look import dump, look_at, printable
from processors.replay.log import FORWARDED_FROM, Raw
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.headers import LETTER_FATE, REDRIVE_ROUND, REDRIVEN_FROM
from schemas.records import CalendarSnapshot, ScaleRequest

CATALOGUE = load_catalogue()
REQUESTS, LETTERS = CATALOGUE.requests.name, CATALOGUE.dead_letters.name
NOW = datetime(2026, 5, 4, tzinfo=UTC)


def letter(offset=7, *, at=0, topic=REQUESTS, code="magic", value=b"nonsense", key=b"infra", more=(), time=1000):
    said = {
        "__connect.errors.topic": topic,
        "__connect.errors.partition": "3",
        "__connect.errors.offset": str(offset),
        "__connect.errors.exception.message": "why",
        "peaktime-stage": "fold-requests",
        "peaktime-reason": code,
    }
    return Raw(LETTERS, 1, at, time, key, value, [*more, *((name, text.encode()) for name, text in said.items())])


def fate(letter_id, state=State.REDRIVEN, *, at=0, **fields):
    key, value, headers = fate_record(letter_id, Fate(state=state, who="kim", why="mended", at=NOW, **fields))
    return Raw(LETTERS, 0, at, 2000, key, value, [(name, text.encode()) for name, text in headers.items()])


def ledger(*raws):
    made = Ledger()
    for raw in raws:
        made.take(raw)
    return made


def test_a_letter_that_was_put_aside_twice_counts_once():
    (only,) = ledger(letter(at=0), letter(at=1)).letters()
    assert (only.id, only.times, only.state, only.size) == (f"{REQUESTS}/3/7", 2, State.OPEN, 8)
    assert counts([only]) == {"magic": {State.OPEN: 1}}


def test_the_last_fate_counts_and_a_redelivered_letter_keeps_it():
    letter_id = f"{REQUESTS}/3/7"
    found = ledger(
        letter(at=0),
        fate(letter_id, State.DISCARDED, at=0),
        fate(letter_id, round=1, to="t/0/9", at=1),
        letter(at=1),
        letter(8, at=2),
    ).letters()
    assert [one.state for one in found] == [State.REDRIVEN, State.OPEN]
    assert (found[0].fate.who, found[0].fate.why, found[0].fate.to) == ("kim", "mended", "t/0/9")
    assert [row["state"] for row in rows(found)] == ["redriven", "open"]


def test_a_fate_may_be_read_before_its_letter():
    (only,) = ledger(fate(f"{REQUESTS}/3/7", State.DISCARDED), letter()).letters()
    assert only.state is State.DISCARDED


def test_a_sender_cannot_pass_a_record_off_as_a_fate():
    spoofed = letter(more=[(LETTER_FATE, b"discarded")])
    (only,) = ledger(spoofed).letters()
    assert only.state is State.OPEN


@pytest.mark.parametrize("value", [b"", b"[]", b"7", b"not json", b'{"round": null}', b"\xff", b"[" * 100_000])
def test_a_fate_that_makes_no_sense_changes_nothing(value):
    made = ledger(letter(), fate(f"{REQUESTS}/3/7")._replace(value=value, headers=[(LETTER_FATE, b"burnt")]))
    assert [one.state for one in made.letters()] == [State.OPEN]


def test_a_record_that_does_not_say_where_it_was_found_is_known_by_its_own_place():
    (only,) = ledger(Raw(LETTERS, 1, 5, 0, None, None, None)).letters()
    assert only.id == f"{LETTERS}/1/5"
    assert "where it was found" in why_not_again(only, CATALOGUE)


def test_what_may_be_sent_again():
    def why_not(*raws):
        return why_not_again(ledger(*raws).letters()[0], CATALOGUE)

    assert why_not(letter()) is None
    assert why_not(letter(), fate(f"{REQUESTS}/3/7", State.DISCARDED)) is None
    assert why_not(letter(topic=CATALOGUE.outcomes.name)) is None
    assert "already, as t/0/9" in why_not(letter(), fate(f"{REQUESTS}/3/7", to="t/0/9"))
    assert "no topic of the catalogue" in why_not(letter(topic="elsewhere"))
    for spec in (CATALOGUE.entries, CATALOGUE.facts, CATALOGUE.calendar_states):
        assert "undo newer ones" in why_not(letter(topic=spec.name))
    for number in range(MOST_ROUNDS):
        assert why_not(letter(more=[(REDRIVE_ROUND, str(number).encode())])) is None
    assert "3 times" in why_not(letter(more=[(REDRIVE_ROUND, b"3")]))


def test_it_is_sent_again_with_what_it_was_found_with():
    found_with = [
        ("ce_id", b"x"),
        ("empty", None),
        (FORWARDED_FROM, b"t/0/1"),
        (REDRIVE_ROUND, b"1"),
        (REDRIVEN_FROM, b"old"),
    ]
    assert headers_again(letter(more=found_with)) == {
        "ce_id": b"x",
        "empty": None,
        REDRIVE_ROUND: b"2",
        REDRIVEN_FROM: f"{REQUESTS}/3/7".encode(),
    }
    assert letter_of(letter(more=found_with)).round == 1


def look(value, record=ScaleRequest, codec=None):
    return look_at(value, record, codec or Codec())


def test_a_truncated_record_shows_the_fields_before_the_cut():
    whole, record = golden("ScaleRequest"), golden_record("ScaleRequest")
    cut = whole.index(record.event_date.encode()) + 3
    seen = look(whole[:cut])
    assert dict(seen.fields) == {
        "requestId": record.request_id,
        "action": str(record.action),
        "target": record.target,
        "day": record.day,
        "band": record.band,
    }
    assert seen.stopped_at == cut - 4
    assert seen.stops.startswith("in the field eventDate, at byte")
    assert "still cannot be read" in seen.today


def test_a_whole_record_says_that_it_can_be_sent_again():
    seen = look(golden("ScaleRequest"))
    assert (seen.stops, seen.stopped_at) == ("", None)
    assert len(seen.fields) == 16
    assert dict(seen.fields)["requestedAt"].endswith("Z")
    assert seen.today == "it can be read now: send it again"


def test_bytes_after_the_end_are_pointed_at():
    seen = look(golden("ScaleRequest") + b"xyz")
    assert "after the last field" in seen.stops


def test_a_schema_that_is_not_known_is_read_as_if_it_were_todays():
    body = golden("ScaleRequest")[10:]
    for unknown in (framed(99, body), b"\xc3\x01" + struct.pack("<Q", 1) + body):
        seen = look(unknown)
        assert "as if it were today's" in seen.framing
        assert len(seen.fields) == 16
    away = FakeRegistry()
    away.away = True
    assert "is away" in look(framed(99, body), codec=Codec(away)).framing


def test_it_is_read_with_the_schema_that_wrote_it():
    schema = changed("ScaleRequest", lambda s: s["fields"].insert(0, {"name": "first", "type": "int"}))
    value = {"first": 7, **{f["name"]: f.get("default") for f in schema["fields"][1:]}}
    value |= {"requestId": "r", "target": "infra", "eventDate": "2026-05-04", "requestedAt": NOW, "action": "SCALE_OUT"}
    registry, data = written_with(schema, value)
    seen = look(data[:-1], codec=Codec(registry))
    assert seen.fields[0] == ("first", "7")
    assert seen.stops.startswith("in the field run")


def test_no_bytes_and_no_framing_and_no_record():
    assert look(None).framing == "no bytes at all"
    assert "begins with 6e6f" in look(b"nonsense").framing
    assert look(b"x", None).today == "nobody of ours reads that topic"


def test_what_a_terminal_would_obey_is_escaped():
    assert printable("봄\x1b[31m\u202e") == "봄\\x1b[31m\\u202e"


@given(st.binary(max_size=300), st.sampled_from([ScaleRequest, CalendarSnapshot]), st.booleans())
def test_no_bytes_break_a_look(data, record, framing):
    seen = look(single(record.__name__, data) if framing else data, record)
    assert seen.framing
    assert list(dump(data, seen.stopped_at)) or not data


def test_a_dump_shows_the_beginning_and_the_place():
    lines = list(dump(bytes(range(256)) * 8, 1000))
    assert lines[0] == " 00000000  00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f  ................"
    assert [line[:9] for line in lines if line[0] == ">"] == [">000003e0"]
    assert lines.count("…") == 1
    assert lines[-1] == "… 2048 bytes in all"
