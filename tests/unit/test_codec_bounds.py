"""No bytes and no writer's schema make the codec cost much more than their size."""

import json
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import fastavro
import pytest
from support.wire import FakeRegistry, as_value, body, changed, framed, golden, golden_record, long, refused, single

from peaktime.core.messages import notifications_of_entry
from peaktime.core.requests import Entries
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.definitions import schema_json
from schemas.records import CalendarSnapshot, Entry, ScaleRequest


@pytest.mark.parametrize("length", [2**62, 2**31, 10**6, -1, -(2**62)])
def test_huge_and_negative_lengths_cost_nothing(length):
    tracemalloc.start()
    try:
        refused(ScaleRequest, single("ScaleRequest", long(length) + b"abc"))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def snapshot_bomb(items, *, blocks=1):
    """A snapshot with so many days of three bytes each, in one block or in many."""
    base = {**as_value("CalendarSnapshot"), "days": []}
    empty = body("CalendarSnapshot", base)
    marker = body(
        "CalendarSnapshot",
        {**base, "days": [{"date": as_value("CalendarSnapshot")["coversFrom"], "name": "", "kind": ""}]},
    )
    at = next(i for i, (a, b) in enumerate(zip(empty, marker, strict=False)) if a != b)
    size = items // blocks
    return single("CalendarSnapshot", empty[:at] + (long(size) + b"\x00\x00\x00" * size) * blocks + empty[at:])


def test_many_small_items_are_too_large_before_they_are_built():
    data = snapshot_bomb(300_000)
    assert len(data) < 1_000_000
    tracemalloc.start()
    try:
        assert refused(CalendarSnapshot, data) == "too-large"
        assert refused(CalendarSnapshot, snapshot_bomb(300_000, blocks=150_000)) == "too-large"
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_large_record_with_few_items_is_read():
    record = replace(golden_record("ScaleRequest"), description="특" * 80_000)
    assert Codec().decode(ScaleRequest, Codec().encode(record, "t")) == record


def test_a_large_record_that_ends_early_is_truncated():
    record = replace(golden_record("Entry"), scale_out_ids=("x" * 100_000,))
    data = Codec().encode(record, "t")
    assert Codec().decode(Entry, data) == record
    assert refused(Entry, data[:-1]) == "truncated"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "array", "items": "null"},
        {"type": "array", "items": {"type": "record", "name": "Nothing", "fields": [{"name": "n", "type": "null"}]}},
        {"type": "array", "items": {"type": "fixed", "name": "None", "size": 0}},
        {"type": "record", "name": "Loop", "fields": [{"name": "loop", "type": ["null", "Loop"]}]},
    ],
)
def test_a_writer_schema_whose_records_cost_more_than_their_bytes_is_refused(part):
    schema = changed("ScaleRequest", lambda s: s["fields"].append({"name": "bomb", "type": part}))
    registry = FakeRegistry()
    data = framed(registry.add(schema, 5), golden("ScaleRequest")[10:] + long(2**60))
    assert refused(ScaleRequest, data, Codec(registry)) == "invalid"


def test_a_deeply_nested_writer_schema_is_refused():
    nested = "string"
    for _ in range(500):
        nested = {"type": "array", "items": nested}
    schema = changed("ScaleRequest", lambda s: s["fields"].append({"name": "deep", "type": nested}))
    registry = FakeRegistry()
    assert refused(ScaleRequest, framed(registry.add(schema, 5), b"abc"), Codec(registry)) == "invalid"


@pytest.mark.parametrize(
    "text",
    ["nonsense", "[" * 100_000, '{"type": "nothing"}', "{}", '{"type": "record"}', "7", "null"],
)
def test_a_schema_that_is_none_is_refused(text):
    registry = FakeRegistry()
    data = framed(registry.add(text, 5), golden("ScaleRequest")[10:])
    assert refused(ScaleRequest, data, Codec(registry)) == "invalid"


@pytest.mark.parametrize("instant", [-(2**60), 2**60, 253_402_300_799_999, -60_000_000_000_000])
def test_instants_that_nobody_can_calculate_with_are_invalid(instant):
    plain = json.loads(schema_json("ScaleRequest").replace(',"logicalType":"timestamp-millis"', ""))
    out = BytesIO()
    fastavro.schemaless_writer(
        out,
        fastavro.parse_schema(plain),
        {**as_value("ScaleRequest"), "startsAt": None, "endsAt": None, "requestedAt": instant},
    )
    assert refused(ScaleRequest, single("ScaleRequest", out.getvalue())) == "invalid"


@pytest.mark.parametrize("items", ["boolean", "float", "double", {"type": "fixed", "name": "Four", "size": 4}])
@pytest.mark.parametrize("count", [long(2**60), long(-(2**60)) + long(2**60)])
def test_items_that_are_skipped_beyond_the_end_are_not_counted_for_ever(items, count):
    part = {"type": "array", "items": {"type": "array", "items": items}}
    schema = changed("ScaleRequest", lambda s: s["fields"].insert(0, {"name": "bomb", "type": part}))
    registry = FakeRegistry()
    data = framed(registry.add(schema, 5), count * 2)
    assert refused(ScaleRequest, data, Codec(registry)) in ("too-large", "truncated", "invalid")


@pytest.mark.parametrize("field", ["target", "event_date", "title", "description", "owner", "request_id", "band"])
@pytest.mark.parametrize("size", [60_000, 260_000, 500_000])
def test_whatever_follows_from_a_request_that_is_read_fits_on_the_log(field, size):
    """What the broker refuses would end each worker that comes to it, one after the other."""
    codec, catalogue = Codec(), load_catalogue("")
    data = codec.encode(replace(golden_record("ScaleRequest"), **{field: "x" * size}), "t")
    if size == 500_000 or (field in ("target", "event_date") and size > 60_000):
        assert refused(ScaleRequest, data, codec) == "too-large"
        return
    request = codec.decode(ScaleRequest, data)
    (row,) = Entries().fold(request, 0, datetime(2026, 5, 1, tzinfo=UTC)).values()
    assert len(codec.encode(row, "t")) + len(row.key) + 50_000 < catalogue.entries.max_message_bytes
    told = notifications_of_entry(row, "requests/0/0", "Asia/Seoul")
    assert len(told) == 1
    assert len(codec.encode(told[0], "t")) + len(told[0].thread) + 50_000 < catalogue.notifications.max_message_bytes
