"""The typed records and the .avsc files say the same, both ways."""

import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime
from enum import StrEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import records

from schemas import records as all_records
from schemas.codec import Codec
from schemas.definitions import named_types, schema_files, self_contained
from schemas.readable import from_json, to_json
from schemas.records import RECORDS, avro_name, entry_key, from_avro, to_avro

ANY_RECORD = st.sampled_from(RECORDS).flatmap(records)


def test_every_schema_has_a_class_and_the_other_way_round():
    assert set(schema_files()) == {cls.__name__ for cls in RECORDS}


def avro_type(hint, named):
    """The Avro type that a Python type hint stands for; records and enums by name, after holding them together."""
    origin = typing.get_origin(hint)
    if origin is types.UnionType:
        (inner,) = (arg for arg in typing.get_args(hint) if arg is not types.NoneType)
        return ["null", avro_type(inner, named)]
    if origin is tuple:
        return {"array": avro_type(typing.get_args(hint)[0], named)}
    if origin is dict:
        assert typing.get_args(hint) == (str, str)
        return {"map": "string"}
    if is_dataclass(hint):
        return hint.__name__
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint.__name__
    return {str: "string", bool: "boolean", int: "number", datetime: "timestamp-millis", date: "date"}[hint]


def plain(schema):
    """The same notation, from a schema."""
    if isinstance(schema, list):
        return [plain(branch) for branch in schema]
    if isinstance(schema, str):
        return {"int": "number", "long": "number"}.get(schema, schema)
    if schema["type"] in ("record", "enum"):
        return schema["name"]
    if schema["type"] == "array":
        return {"array": plain(schema["items"])}
    if schema["type"] == "map":
        return {"map": plain(schema["values"])}
    return schema.get("logicalType") or plain(schema["type"])


def python_default(field):
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


@pytest.mark.parametrize("name", sorted(schema_files()))
def test_class_and_schema_agree(name):
    named = named_types([self_contained(name)])
    for type_name, schema in named.items():
        cls = getattr(all_records, type_name)
        if schema["type"] == "enum":
            assert [member.value for member in cls] == schema["symbols"], type_name
            continue
        hints = typing.get_type_hints(cls)
        assert [avro_name(f.name) for f in fields(cls)] == [f["name"] for f in schema["fields"]], type_name
        for field, avro in zip(fields(cls), schema["fields"], strict=True):
            where = f"{type_name}.{field.name}"
            assert avro_type(hints[field.name], named) == plain(avro["type"]), where
            default = python_default(field)
            if "default" in avro:
                assert default is not MISSING, where
                assert avro["default"] == ([] if default == () else default), where
            else:
                assert default is MISSING, where


@given(ANY_RECORD)
@settings(max_examples=2 * settings.default.max_examples, deadline=None)
def test_every_record_survives_the_wire(record):
    codec = Codec()
    assert codec.decode(type(record), codec.encode(record, "t")) == record


@given(ANY_RECORD)
@settings(deadline=None)
def test_every_record_survives_json(record):
    assert from_json(type(record), to_json(record)) == record
    assert from_avro(type(record), to_avro(record)) == record


@given(
    st.tuples(*[st.text(st.sampled_from("a/%2F"), max_size=5)] * 3),
    st.tuples(*[st.text(st.sampled_from("a/%2F"), max_size=5)] * 3),
)
def test_entry_keys_never_collide(one, other):
    assert (entry_key(*one) == entry_key(*other)) == (one == other)
