"""What keeps a hostile or broken record from costing more than its size.

For: the codec alone. Three checks: of a writer's schema that came from elsewhere, of the number of items in a large
record before anything is built from it, and of the values that came out. Must not: read a record into memory.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache
from typing import Any

from schemas.definitions import NAMED, PRIMITIVES, Schema, short_name

MAX_SCHEMA_CHARACTERS = 1_000_000
MAX_DEPTH = 64
#: A record that is larger is counted before it is read; a smaller one of ours cannot grow into much.
COUNTED_FROM_BYTES = 64 * 1024
MAX_ITEMS = 20_000
#: A larger record of these is not read: the rows and messages that follow from it quote it, some of it twice, and must
#: fit on the log.
LARGEST = {"ScaleRequest": 256 * 1024, "CalendarSnapshot": 512 * 1024, "Outcome": 896 * 1024}
#: What identifies something stands in the row's key too, and more than once in the row.
_IDENTITIES = ("target", "origin", "event_date", "subject", "calendar_id")
_LONGEST_IDENTITY = 8 * 1024
#: Room to add and subtract years without leaving what Python can express.
FIRST_YEAR, LAST_YEAR = 1900, 9000


class OutOfBoundsError(ValueError):
    """A schema or a record is not what it may be."""


class TooManyItemsError(OutOfBoundsError):
    """A record holds more items than any real one."""


class TooLongError(OutOfBoundsError):
    """What identifies something is longer than anything real."""


def check_writer_schema(schema: Schema) -> None:
    """Refuse a schema whose records can cost more than their bytes.

    That is one that refers to itself, nests too deeply, or has arrays or maps of items that take no bytes.

    Raises:
        OutOfBoundsError: saying which.
    """
    sizes: dict[str, bool] = {}

    def takes_bytes(part: Schema, open_names: tuple[str, ...], depth: int) -> bool:
        if depth > MAX_DEPTH:
            raise OutOfBoundsError(f"the schema nests more than {MAX_DEPTH} types")
        if isinstance(part, list):
            for branch in part:
                takes_bytes(branch, open_names, depth + 1)
            return True
        if isinstance(part, str):
            if part in open_names or short_name(part) in open_names:
                raise OutOfBoundsError(f"the schema's type {part} contains itself")
            return part != "null" if part in PRIMITIVES else sizes.get(short_name(part), True)
        kind = part["type"]
        name = short_name(str(part.get("name", "")))
        if kind == "record":
            inner = [takes_bytes(f["type"], (*open_names, name), depth + 1) for f in part["fields"]]
            sizes[name] = any(inner)
            return sizes[name]
        if kind in ("array", "map"):
            items = takes_bytes(part["items" if kind == "array" else "values"], open_names, depth + 1)
            if not items and kind == "array":
                raise OutOfBoundsError("the schema has an array of items that take no bytes")
            return True
        if kind in NAMED:
            sizes[name] = kind == "enum" or part["size"] > 0
            return sizes[name]
        return takes_bytes(kind, open_names, depth + 1)

    takes_bytes(schema, (), 0)


def check_items(schema: Schema, data: bytes, start: int, *, todays: bool) -> None:
    """Count the items of all arrays and maps of a record, without building any.

    Small records of today's schemas are passed over: they cannot grow into much. With other schemas the size says
    nothing, since fields that are skipped are skipped beyond the end of the bytes, however many they claim to be.

    Args:
        schema: the writer's, self-contained and checked.
        data: the whole record.
        start: where the Avro body begins.
        todays: whether the schema is today's.

    Raises:
        TooManyItemsError: if there are more than ``MAX_ITEMS``.
        OutOfBoundsError: if a length or a branch makes no sense.
        EOFError: if the record ends early.
    """
    if not todays or len(data) >= COUNTED_FROM_BYTES:
        _Counter(data, start).walk(schema)


class _Counter:
    """Walks over a record's bytes."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._at = start
        self._items = 0
        self._named: dict[str, Schema] = {}

    def walk(self, schema: Schema) -> None:
        if isinstance(schema, list):
            branch = self._long()
            if not 0 <= branch < len(schema):
                raise OutOfBoundsError("a union has no such branch")
            self.walk(schema[branch])
        elif isinstance(schema, str):
            self._walk_name(schema)
        elif schema["type"] in ("array", "map"):
            self._walk_blocks(schema)
        elif schema["type"] in NAMED:
            self._named[short_name(schema["name"])] = schema
            if schema["type"] == "record":
                for field in schema["fields"]:
                    self.walk(field["type"])
            elif schema["type"] == "enum":
                self._long()
            else:
                self._skip(schema["size"])
        else:
            self.walk(schema["type"])

    def _walk_name(self, name: str) -> None:
        if name in ("int", "long"):
            self._long()
        elif name in ("string", "bytes"):
            self._skip(self._long())
        elif name in PRIMITIVES:
            self._skip({"null": 0, "boolean": 1, "float": 4, "double": 8}[name])
        else:
            self.walk(self._named[short_name(name)])

    def _walk_blocks(self, schema: dict[str, Any]) -> None:
        while count := self._long():
            if count < 0:
                count = -count
                self._long()
            self._items += count
            if self._items > MAX_ITEMS:
                raise TooManyItemsError(f"holds more than {MAX_ITEMS} items")
            for _ in range(count):
                if schema["type"] == "map":
                    self._skip(self._long())
                    self.walk(schema["values"])
                else:
                    self.walk(schema["items"])

    def _skip(self, size: int) -> None:
        if size < 0:
            raise OutOfBoundsError("a length is negative")
        self._at += size
        if self._at > len(self._data):
            raise EOFError

    def _long(self) -> int:
        value = shift = 0
        while True:
            if self._at >= len(self._data):
                raise EOFError
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004  (its meaning stands beside it)
                return (value >> 1) ^ -(value & 1)
            shift += 7
            if shift > 63:  # noqa: PLR2004  (its meaning stands beside it)
                raise OutOfBoundsError("a number has more than 64 bits")


_Check = Callable[[Any], None]


def check_identities(record: Any) -> None:
    """Refuse a large record that is large by what identifies it: the row that follows would be larger than itself.

    Raises:
        TooLongError: naming the field.
    """
    for name in _IDENTITIES:
        if len(getattr(record, name, "").encode()) > _LONGEST_IDENTITY:
            raise TooLongError(f"{name} is longer than {_LONGEST_IDENTITY} bytes")


def check_values(record: Any) -> None:
    """Hold a decoded record against its class: types, and instants that can be calculated with.

    Raises:
        OutOfBoundsError: naming the field.
    """
    cls: Any = type(record)
    _checks(cls)(record)


@cache
def _checks(cls: Any) -> _Check:
    hints = typing.get_type_hints(cls)
    checks = [(f.name, _check_of(hints[f.name])) for f in fields(cls)]

    def check(record: Any) -> None:
        if type(record) is not cls:
            raise OutOfBoundsError(f"{type(record).__name__} where {cls.__name__} belongs")
        for name, check_field in checks:
            try:
                check_field(getattr(record, name))
            except OutOfBoundsError as error:
                raise OutOfBoundsError(f"{name}: {error}") from None

    return check


def _check_of(hint: Any) -> _Check:
    origin = typing.get_origin(hint)
    if origin is types.UnionType or origin is typing.Union:
        (inner,) = (_check_of(arg) for arg in typing.get_args(hint) if arg is not types.NoneType)
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        item = _check_of(typing.get_args(hint)[0])

        def check_all(values: Any) -> None:
            for value in values:
                item(value)

        return check_all
    if origin is dict:
        return _check_mapping
    if is_dataclass(hint):
        return _checks(typing.cast("Any", hint))
    if hint is datetime:
        return _check_instant
    if hint is date:
        return _check_date
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return lambda value: None if isinstance(value, hint) else _wrong(value, hint)
    return lambda value: None if type(value) is hint else _wrong(value, hint)


def _wrong(value: Any, hint: type[Any]) -> None:
    raise OutOfBoundsError(f"{type(value).__name__} where {hint.__name__} belongs")


def _check_mapping(value: Any) -> None:
    if not isinstance(value, dict) or not all(type(k) is str and type(v) is str for k, v in value.items()):
        _wrong(value, dict)


def _check_instant(value: Any) -> None:
    if not isinstance(value, datetime) or value.tzinfo is not UTC:
        _wrong(value, datetime)
    _check_year(value.year)


def _check_date(value: Any) -> None:
    if type(value) is not date:
        _wrong(value, date)
    _check_year(value.year)


def _check_year(year: int) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise OutOfBoundsError(f"the year {year}, outside of {FIRST_YEAR} to {LAST_YEAR}")
