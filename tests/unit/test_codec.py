"""The codec: both framings, every released writer, and bytes that are no record at all."""

import json
import struct
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.wire import (
    BY_NAME,
    CODES,
    NAMES,
    FakeRegistry,
    as_value,
    changed,
    golden,
    golden_record,
    long,
    refused,
    single,
    written_with,
)

from peaktime.errors import DecodeError, SchemaUnavailableError
from schemas.codec import MAX_RECORD_BYTES, Codec
from schemas.definitions import crc64, schema_json
from schemas.readable import to_json
from schemas.records import CalendarSnapshot, Entry, RequestAction, ScaleRequest


@pytest.mark.parametrize("name", NAMES)
def test_golden_bytes_decode_to_the_golden_record(name):
    assert Codec().decode(BY_NAME[name], golden(name)) == golden_record(name)


@pytest.mark.parametrize("name", NAMES)
def test_golden_record_encodes_to_the_golden_bytes(name):
    assert Codec().encode(golden_record(name), "t") == golden(name)


@pytest.mark.parametrize("name", NAMES)
def test_golden_examples_fill_every_field(name):
    empty = [field for field, value in to_json(golden_record(name)).items() if value in ("", None, [], {})]
    assert empty == (["run"] if name == "ScaleRequest" else []), "extend tests/support/write_golden.py, and run it"


def test_the_fingerprint_is_avros_own():
    # From Avro's own test data: the fingerprints of "null" and "int", as the signed numbers that Java knows.
    assert crc64("null") == 7195948357588979594
    assert crc64("int") == 8247732601305521295


def test_the_fingerprint_stands_little_endian_on_the_wire():
    name = "ScaleRequest"
    assert golden(name)[:10] == b"\xc3\x01" + struct.pack("<Q", crc64(json.loads(schema_json(name))))


@pytest.mark.parametrize("name", NAMES)
def test_registry_framing_round_trip(name):
    registry = FakeRegistry()
    codec = Codec(registry)
    data = codec.encode(golden_record(name), "peaktime.t.v1")
    assert data[:1] == b"\x00"
    assert registry.schemas[struct.unpack(">I", data[1:5])[0]] == schema_json(name)
    assert codec.decode(BY_NAME[name], data) == golden_record(name)


def test_one_decoder_takes_both_framings():
    registry = FakeRegistry()
    with_registry = Codec(registry)
    record = golden_record("ScaleRequest")
    assert with_registry.decode(ScaleRequest, Codec().encode(record, "t")) == record


def test_a_schema_is_asked_for_once():
    registry = FakeRegistry()
    codec = Codec(registry)
    data = codec.encode(golden_record("Entry"), "t")
    for _ in range(3):
        codec.decode(Entry, data)
    assert len(registry.asked) == 1
    registry.away = True
    assert codec.decode(Entry, data) == golden_record("Entry")


def test_an_outage_is_not_the_records_fault():
    registry = FakeRegistry()
    data = Codec(registry).encode(golden_record("Entry"), "t")
    registry.away = True
    codec = Codec(registry)
    assert not codec.ready(data)
    for ask in (lambda: codec.decode(Entry, data), lambda: codec.learn(data)):
        with pytest.raises(SchemaUnavailableError):
            ask()
    registry.away = False
    codec.learn(data)
    assert codec.ready(data)


@pytest.mark.parametrize("data", [None, b"", b"\x00\x01", b"nonsense", b"\xc3\x01\x00", b"\x00\x00\x00\x00\x09abc"])
def test_what_needs_no_registry_is_ready(data):
    registry = FakeRegistry()
    registry.asked.append(9)
    assert Codec(registry).ready(data)
    assert Codec().ready(data)


# What an older or newer writer says.


def test_an_older_writer_without_a_field_gives_its_default():
    schema = changed("ScaleRequest", lambda s: s.update(fields=[f for f in s["fields"] if f["name"] != "owner"]))
    registry, data = written_with(schema, as_value("ScaleRequest"))
    assert Codec(registry).decode(ScaleRequest, data).owner == ""


def test_a_newer_writer_with_a_field_and_a_symbol_is_read():
    def change(schema):
        schema["fields"].insert(0, {"name": "priority", "type": ["null", "string"], "default": None})
        schema["fields"][2]["type"]["symbols"].append("SCALE_SIDEWAYS")

    schema = changed("ScaleRequest", change)
    value = {**as_value("ScaleRequest"), "priority": "high", "action": "SCALE_SIDEWAYS"}
    registry, data = written_with(schema, value)
    record = Codec(registry).decode(ScaleRequest, data)
    assert record.action is RequestAction.UNKNOWN
    assert record.title == golden_record("ScaleRequest").title


def test_an_order_of_fields_of_its_own_is_read():
    schema = changed("ScaleRequest", lambda s: s["fields"].reverse())
    registry, data = written_with(schema, as_value("ScaleRequest"))
    assert Codec(registry).decode(ScaleRequest, data) == golden_record("ScaleRequest")


@pytest.mark.parametrize(
    ("field", "avro_type", "value"),
    [
        ("title", "long", 7),
        ("title", {"type": "array", "items": "string"}, ["a"]),
        ("requestedAt", "long", 1),
        ("requestedAt", "string", "now"),
        ("revision", "string", "x"),
        ("action", "string", "SCALE_OUT"),
    ],
)
def test_a_writer_with_another_type_is_invalid(field, avro_type, value):
    def change(schema):
        for f in schema["fields"]:
            if f["name"] == field:
                f["type"] = avro_type
                f.pop("default", None)

    registry, data = written_with(changed("ScaleRequest", change), {**as_value("ScaleRequest"), field: value})
    with pytest.raises(DecodeError) as caught:
        Codec(registry).decode(ScaleRequest, data)
    assert caught.value.code == "invalid"


def test_another_record_is_invalid():
    with pytest.raises(DecodeError) as caught:
        Codec().decode(ScaleRequest, golden("Notification"))
    assert caught.value.code == "invalid"


# Bytes that are no record.


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"{}", "magic"),
        (b"\xc3\x02" + b"x" * 20, "magic"),
        (b"\xc3", "truncated"),
        (b"\x00\x00", "truncated"),
        (b"\x00\x00\x00\x00\x07", "unknown-schema"),
        (b"\xc3\x01" + b"\x07" * 8, "unknown-schema"),
        (b"\xc3\x01" + b"x" * (MAX_RECORD_BYTES + 1), "too-large"),
    ],
)
def test_codes(data, code):
    assert refused(ScaleRequest, data) == code
    assert refused(ScaleRequest, data, Codec(FakeRegistry())) == code


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_refused(name):
    data = golden(name)
    codes = {refused(BY_NAME[name], data[:length]) for length in range(len(data))}
    assert "truncated" in codes


def test_bytes_too_many_are_refused():
    assert refused(ScaleRequest, golden("ScaleRequest") + b"\x00") == "invalid"


@given(st.sampled_from(NAMES), st.data())
@settings(max_examples=6 * settings.default.max_examples, deadline=None)
def test_whatever_the_bytes_it_is_a_record_or_a_decode_error(name, data):
    bad = bytearray(golden(name))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(bad) - 1))
        piece = data.draw(
            st.binary(max_size=4)
            | st.sampled_from([long(2**62), long(-(2**62)), long(-1), long(10**6), b"\xff\xff", b"\x80" * 20]),
        )
        bad[at : at + data.draw(st.integers(0, 3))] = piece
    try:
        Codec().decode(BY_NAME[name], bytes(bad))
    except DecodeError as error:
        assert error.code in CODES  # noqa: PT017  (either way is right)


@given(st.binary(max_size=200))
def test_random_bodies_are_refused_or_read(noise):
    for cls in (ScaleRequest, Entry, CalendarSnapshot):
        try:
            Codec().decode(cls, single(cls.__name__, noise))
        except DecodeError as error:
            assert error.code in CODES  # noqa: PT017  (either way is right)


def test_decoding_is_quick_enough():
    # The pipeline folds about a thousand records a second: decoding must stay a small part of that.
    codec, data = Codec(), golden("ScaleRequest")
    codec.decode(ScaleRequest, data)
    started = perf_counter()
    for _ in range(1000):
        codec.decode(ScaleRequest, data)
    assert perf_counter() - started < 1.0
