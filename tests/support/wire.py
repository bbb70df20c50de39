"""Golden bytes, hand-made bytes and a registry in memory, for the tests of the codec."""

import json
import struct
from io import BytesIO
from pathlib import Path

import fastavro
import pytest

import schemas
from peaktime.errors import DecodeError, SchemaUnavailableError
from schemas.codec import Codec
from schemas.definitions import parsed, schema_json, todays_fingerprint
from schemas.readable import from_json
from schemas.records import RECORDS, to_avro

EXAMPLES = Path(schemas.__file__).parent / "examples"
CODES = {"empty", "magic", "unknown-schema", "truncated", "invalid", "too-large"}
NAMES = [cls.__name__ for cls in RECORDS]
BY_NAME = {cls.__name__: cls for cls in RECORDS}


class FakeRegistry:
    """A registry as far as the codec is concerned."""

    def __init__(self):
        self.schemas = {}
        self.asked = []
        self.away = False

    def add(self, schema, schema_id=None):
        schema_id = schema_id if schema_id is not None else 100 + len(self.schemas)
        self.schemas[schema_id] = schema if isinstance(schema, str) else json.dumps(schema)
        return schema_id

    def schema_by_id(self, schema_id):
        if self.away:
            raise SchemaUnavailableError("registry", "is away", "Wait")
        self.asked.append(schema_id)
        return self.schemas.get(schema_id)

    def has(self, schema_id):
        return schema_id in self.asked

    def forget_unknown(self, schema_id):
        """Nothing is remembered."""

    def id_of(self, _subject, schema):
        if self.away:
            raise SchemaUnavailableError("registry", "is away", "Wait")
        return next((i for i, s in self.schemas.items() if s == schema), None) or self.add(schema)


def golden(name):
    return (EXAMPLES / f"{name}.bin").read_bytes()


def golden_record(name):
    return from_json(BY_NAME[name], json.loads((EXAMPLES / f"{name}.json").read_text("utf-8")))


def body(name, value):
    out = BytesIO()
    fastavro.schemaless_writer(out, parsed(name), value)
    return out.getvalue()


def framed(schema_id, data):
    return struct.pack(">bI", 0, schema_id) + data


def single(name, data):
    return b"\xc3\x01" + struct.pack("<Q", todays_fingerprint(name)) + data


def long(value):
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def changed(name, change):
    schema = json.loads(schema_json(name))
    change(schema)
    return schema


def written_with(schema, value):
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    registry = FakeRegistry()
    return registry, framed(registry.add(schema, 7), out.getvalue())


def as_value(name):
    return to_avro(golden_record(name))


def refused(cls, data, codec=None):
    with pytest.raises(DecodeError) as caught:
        (codec or Codec()).decode(cls, data)
    assert caught.value.code in CODES
    assert "\n" not in str(caught.value)
    return caught.value.code
