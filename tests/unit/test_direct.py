"""What is read straight from the bytes is what fastavro reads, and whatever is odd is left to fastavro to judge."""

from __future__ import annotations

from io import BytesIO

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import records
from support.wire import BY_NAME, NAMES, FakeRegistry, golden, golden_record

from peaktime.errors import DecodeError
from schemas.codec import Codec
from schemas.definitions import parsed
from schemas.records import from_avro


def by_fastavro(cls, data):
    return from_avro(cls, fastavro.schemaless_reader(BytesIO(data[10:]), parsed(cls.__name__), None))


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(data=st.data())
def test_any_record_is_read_as_fastavro_reads_it(name, data):
    cls = BY_NAME[name]
    codec = Codec()
    codec.decode(cls, golden(name))  # from now on what can be read straight is
    record = data.draw(records(cls))
    written = codec.encode(record, "")
    found = codec.decode(cls, written)
    assert found == by_fastavro(cls, written) == record
    assert type(found) is cls
    assert repr(found) == repr(record)


def outcome(decode, cls, data):
    try:
        return decode(cls, data)
    except DecodeError as error:
        return error.code, str(error)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=2 * settings.default.max_examples, deadline=None)
@given(data=st.data())
def test_bytes_that_were_changed_are_judged_as_without_it(name, data):
    cls, whole = BY_NAME[name], golden(name)
    codec = Codec()
    codec.decode(cls, whole)
    changed = bytearray(whole)
    for at, put, cut in data.draw(
        st.lists(
            st.tuples(st.integers(10, len(whole)), st.binary(max_size=8), st.integers(0, 8)), min_size=1, max_size=3
        )
    ):
        changed[at : at + cut] = put
    assert outcome(codec.decode, cls, bytes(changed)) == outcome(codec._judged, cls, bytes(changed))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("registry", [None, FakeRegistry()], ids=["single object", "registry"])
def test_after_the_first_record_of_a_schema_fastavro_is_not_asked(name, registry, monkeypatch):
    codec, cls = Codec(registry), BY_NAME[name]
    data = codec.encode(golden_record(name), "topic")
    assert codec.decode(cls, data) == golden_record(name)
    monkeypatch.setattr(fastavro, "schemaless_reader", None)
    assert codec.decode(cls, data) == golden_record(name)


def test_a_record_of_another_class_under_the_same_frame_is_not_mixed_up():
    codec = Codec()
    request = golden("ScaleRequest")
    codec.decode(BY_NAME["ScaleRequest"], request)
    with pytest.raises(DecodeError):
        codec.decode(BY_NAME["Delivery"], request)


def test_large_records_are_counted_before_they_are_read():
    codec, cls = Codec(), BY_NAME["ScaleRequest"]
    codec.decode(cls, golden("ScaleRequest"))
    many = b"\x00" * 70_000
    with pytest.raises(DecodeError):
        codec.decode(cls, golden("ScaleRequest") + many)
