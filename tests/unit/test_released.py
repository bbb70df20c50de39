"""Records that an older release wrote are read as they were meant; so are records of newer ones."""

import json
from io import BytesIO

import fastavro
import pytest
from hypothesis import given
from support.strategies import records
from support.wire import BY_NAME, NAMES, as_value

from schemas import definitions
from schemas.codec import Codec
from schemas.definitions import crc64, named_types, released, schema_json, self_contained, short_name
from schemas.records import ScaleRequest, from_avro, to_avro


def projected(value, schema, named):
    """A value of today's as far as another schema can write it: its fields, and symbols that it knows."""
    if value is None:
        return None
    if isinstance(schema, list):
        return projected(value, next(part for part in schema if part != "null"), named)
    if isinstance(schema, str):
        return projected(value, named[short_name(schema)], named) if short_name(schema) in named else value
    if schema["type"] == "record":
        return {
            f["name"]: projected(value[f["name"]], f["type"], named) if f["name"] in value else f["default"]
            for f in schema["fields"]
        }
    if schema["type"] == "array":
        return [projected(item, schema["items"], named) for item in value]
    if schema["type"] == "enum":
        return value if value in schema["symbols"] else schema["default"]
    return value


def written(schema, value):
    out = BytesIO()
    out.write(b"\xc3\x01" + crc64(schema).to_bytes(8, "little"))
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), projected(value, schema, named_types([schema])))
    return out.getvalue()


RELEASED = [(version, name) for version, schemas in released().items() for name in schemas]


@pytest.mark.parametrize(("version", "name"), RELEASED)
def test_what_a_release_wrote_is_read(version, name):
    schema = released()[version][name]
    value = as_value(name)
    found = to_avro(Codec().decode(BY_NAME[name], written(schema, value)))
    kept = projected(value, schema, named_types([schema]))
    assert projected(found, schema, named_types([schema])) == kept


def older(name):
    """A record's schema as an earlier release may have had it: without any field, and symbol, that was added since."""
    schema = json.loads(schema_json(name))
    schema["fields"] = [f for f in schema["fields"] if "default" not in f]
    schema["fields"].append({"name": "once", "type": "string", "doc": "Dropped since.", "default": ""})
    return schema


@pytest.fixture
def earlier(monkeypatch):
    """A release before all others."""
    release = {name: older(name) for name in NAMES}
    others = definitions.released()
    monkeypatch.setattr(definitions, "released", lambda: {"0.0.1": release, **others})
    definitions.by_fingerprint.cache_clear()
    yield release
    monkeypatch.undo()
    definitions.by_fingerprint.cache_clear()


@pytest.mark.parametrize("name", NAMES)
def test_what_a_synthetic_older_release_wrote_is_read_with_todays_defaults(earlier, name):
    value = {**as_value(name), "once": "before"}
    found = Codec().decode(BY_NAME[name], written(earlier[name], value))
    defaults = {f["name"]: f["default"] for f in self_contained(name)["fields"] if "default" in f}
    assert found == from_avro(BY_NAME[name], {**as_value(name), **defaults})


@given(records(ScaleRequest))
def test_any_request_of_todays_survives_a_newer_reader_and_writer(wanted):
    newer = json.loads(schema_json("ScaleRequest"))
    newer["fields"].insert(3, {"name": "campaign", "type": ["null", "string"], "doc": "d", "default": None})
    old = Codec().encode(wanted, "t")
    by_newer_reader = fastavro.schemaless_reader(
        BytesIO(old[10:]), fastavro.parse_schema(self_contained("ScaleRequest")), fastavro.parse_schema(newer),
    )  # fmt: skip
    assert by_newer_reader.pop("campaign") is None
    assert from_avro(ScaleRequest, by_newer_reader) == wanted
