"""Schemas that a test registers, and records written with them."""

import json
from io import BytesIO

import fastavro
import httpx
from support.wire import framed

from schemas.definitions import schema_json
from schemas.records import to_avro


def newer(name, field, type_="string", default=""):
    """A record's schema as a later release may have it: with one more field."""
    schema = json.loads(schema_json(name))
    schema["fields"].append({"name": field, "type": type_, "doc": "Added later.", "default": default})
    return schema


def post(url, subject, schema):
    """Register a schema under a subject; its id."""
    answer = httpx.post(f"{url}/subjects/{subject}/versions", json={"schema": json.dumps(schema)}, timeout=10)
    assert answer.is_success, answer.text
    return answer.json()["id"]


def written(schema, schema_id, record, **more):
    """A record in the registry's framing, written with a schema that has more fields than today's."""
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), {**to_avro(record), **more})
    return framed(schema_id, out.getvalue())
