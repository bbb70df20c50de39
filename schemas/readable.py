"""Records as JSON that people can read: field names as in Avro, instants and dates as in ISO 8601.

For: golden examples, and whoever shows a record. Must not: be put on a topic; the wire is Avro (``schemas.codec``).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, TypeVar

from schemas.definitions import PRIMITIVES, Schema, named_types, self_contained, short_name
from schemas.records import from_avro, to_avro

R = TypeVar("R")


def to_json(record: Any) -> dict[str, Any]:
    """The record as values that ``json.dumps`` takes."""
    return {name: shown(value) for name, value in to_avro(record).items()}


def from_json(cls: type[R], value: dict[str, Any]) -> R:
    """The record of what ``to_json`` gave.

    Raises:
        LookupError, TypeError or ValueError: the value is no such record.
    """
    schema = self_contained(cls.__name__)
    return from_avro(cls, _Reader(named_types([schema])).read(schema, value))


def shown(value: Any) -> Any:
    """A value of a record as JSON has it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: shown(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shown(inner) for inner in value]
    return value


class _Reader:
    def __init__(self, named: dict[str, dict[str, Any]]) -> None:
        self._named = named

    def read(self, schema: Schema, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(schema, list):
            (branch,) = (part for part in schema if part != "null")
            return self.read(branch, value)
        if isinstance(schema, str):
            return value if schema in PRIMITIVES else self.read(self._named[short_name(schema)], value)
        if schema["type"] == "record":
            types = {field["name"]: field["type"] for field in schema["fields"]}
            return {name: self.read(types[name], inner) for name, inner in value.items()}
        if schema["type"] == "array":
            return [self.read(schema["items"], inner) for inner in value]
        if schema.get("logicalType") == "timestamp-millis":
            return datetime.fromisoformat(value).astimezone(UTC)
        if schema.get("logicalType") == "date":
            return date.fromisoformat(value)
        return value
