"""What can be read of a record that cannot be read whole, field by field, up to where it stops making sense.

For: whoever looks at a dead letter. Must not: be used to fold; half a record is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import fastavro

from schemas import bounds
from schemas.definitions import Schema


@dataclass(frozen=True, slots=True)
class Part:
    """One field, as it was written.

    Attributes:
        name: its name.
        value: its value, of Avro's types.
        start: where its bytes begin.
        end: where they end, exclusive.
    """

    name: str
    value: Any
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Parts:
    """What could be read.

    Attributes:
        fields: in the order of writing.
        stopped_in: the field that could not be read; empty if all could.
        end: where reading stopped.
    """

    fields: tuple[Part, ...]
    stopped_in: str
    end: int


def read_parts(schema: Schema, data: bytes, start: int) -> Parts:
    """Read the fields of a record for as long as they make sense.

    Args:
        schema: the writer's, self-contained and checked by ``schemas.bounds``.
        data: the whole record.
        start: where the Avro body begins.
    """
    record: dict[str, Any] = schema if isinstance(schema, dict) else {}
    fields = record.get("fields", [])
    found: list[Part] = []
    at = start
    # Each time from the beginning: a type that is named again is defined in an earlier field.
    for count, field in enumerate(fields, 1):
        part = {**record, "fields": fields[:count]}
        body = BytesIO(data)
        body.seek(start)
        try:
            bounds.check_items(part, data, start, todays=False)
            value = fastavro.schemaless_reader(body, fastavro.parse_schema(part), None)
        except (
            ArithmeticError,
            AssertionError,
            AttributeError,
            EOFError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ):
            return Parts(tuple(found), field["name"], at)
        found.append(Part(field["name"], value[field["name"]], at, body.tell()))
        at = body.tell()
    return Parts(tuple(found), "", at)
