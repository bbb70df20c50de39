"""Today's records, read straight from their bytes by functions that are made from the schemas and their classes.

For: the codec alone, and only for records written with today's schemas. fastavro reads any schema, at a price for each
field, and its dicts must become typed records and be held against their bounds: together three times what reading
costs here (``bench/decoding.py``). Must not: judge. Whatever is odd about the bytes ends in an exception, and the
codec reads them again by fastavro, which says what is wrong; so what is read here is what fastavro would read.
"""

from __future__ import annotations

import itertools
import types
import typing
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache
from typing import Any

from schemas.bounds import FIRST_YEAR, LAST_YEAR, OutOfBoundsError
from schemas.definitions import PRIMITIVES, Schema, named_types, self_contained, short_name
from schemas.records import avro_name, instant_of_millis, setters

#: Reads a record of one class: the bytes and where it begins → the record and where it ends. The end may lie beyond
#: the bytes, if they are cut short: whoever calls must look.
Reader = Callable[[bytes, int], tuple[Any, int]]

_MORE, _LOW, _BITS, _MOST_SHIFT = 0x80, 0x7F, 7, 63
#: What the marks of "more to come" add to a number of six bytes.
_MARKS = sum(_MORE << _BITS * index for index in range(5))
_KINDS = PRIMITIVES | {"record", "enum", "array", "map"}
_EPOCH_DAY = date(1970, 1, 1).toordinal()


@cache
def reader(cls: type[Any]) -> Reader:
    """The function that reads records of a class of ``schemas.records.RECORDS``."""
    schema = self_contained(cls.__name__)
    maker = _Maker(named_types([schema]))
    name = maker.record(schema, cls)
    # Made as dataclasses are: the text comes from our own schemas and classes only, never from a record.
    exec("\n".join(maker.lines), maker.known)  # noqa: S102  (see above)
    return typing.cast("Reader", maker.known[name])


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number as it is on the wire, zigzag not undone, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & _LOW) << shift
        if byte < _MORE:
            return value, at
        shift += _BITS
        if shift >= _MOST_SHIFT:
            raise OutOfBoundsError("a number may have more than 64 bits")


def _instant(millis: int) -> datetime:
    found = instant_of_millis(millis)
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise OutOfBoundsError("a year out of bounds")
    return found


def _date(days: int) -> date:
    found = date.fromordinal(_EPOCH_DAY + days)
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise OutOfBoundsError("a year out of bounds")
    return found


def _odd() -> None:
    raise OutOfBoundsError("not as it should be")


class _Maker:
    """Writes the text of the functions; ``known`` is what they refer to."""

    def __init__(self, named: dict[str, Any]) -> None:
        self.lines: list[str] = []
        self.known: dict[str, Any] = {"number": _number, "instant": _instant, "day": _date, "odd": _odd}
        self.known |= {"stamp": datetime.fromtimestamp, "UTC": UTC}
        self._named = named
        self._numbers = itertools.count()

    def record(self, schema: dict[str, Any], cls: Any) -> str:
        """The name of the function for a class; written if it is not there."""
        name = f"read_{cls.__name__}"
        if name in self.known:
            return name
        self.known |= {name: None, cls.__name__: cls}
        hints = typing.get_type_hints(cls)
        by_name = {field["name"]: field["type"] for field in schema["fields"]}
        wanted = {avro_name(field.name): field.name for field in fields(cls)}
        body: list[str] = []
        values: list[tuple[str, str]] = []
        for avro, part in by_name.items():
            value = self._name("v")
            self._value(body, 1, value, part, hints[wanted[avro]])
            setter = self._name("set")
            self.known[setter] = setters(cls)[wanted[avro]]
            values.append((setter, value))
        made = self._name("made")
        self.known[f"new_{cls.__name__}"] = cls.__new__
        # The classes are frozen; their own __init__ does the same, field by field, at twice the price.
        self.lines += [
            f"def {name}(data, at):",
            *body,
            f"    {made} = new_{cls.__name__}({cls.__name__})",
            *(f"    {setter}({made}, {value})" for setter, value in values),
            f"    return {made}, at",
        ]
        return name

    def _name(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers)}"

    def _value(self, body: list[str], depth: int, into: str, schema: Schema, hint: Any) -> None:
        """Write what reads one value into a variable."""
        pad = "    " * depth

        def add(*lines: str) -> None:
            body.extend(pad + line for line in lines)

        if isinstance(schema, list):
            self._union(body, depth, into, schema, hint)
            return
        part: dict[str, Any] = schema if isinstance(schema, dict) else {"type": schema}
        if part["type"] not in _KINDS:
            part = self._named[short_name(part["type"])]
        kind, logical = part["type"], part.get("logicalType", "")
        if kind == "string":
            size, end = self._name("n"), self._name("e")
            add(
                f"{size} = data[at]; at += 1",
                f"if {size} > 127: {size}, at = number(data, at - 1)",
                f"if {size} & 1: odd()",
                f"{end} = at + ({size} >> 1); {into} = data[at:{end}].decode(); at = {end}",
            )
        elif logical == "timestamp-millis":
            self._instant(body, pad, into)
        elif kind in ("int", "long"):
            convert = "day" if logical == "date" else ""
            add(
                f"{into} = data[at]; at += 1",
                f"if {into} > 127: {into}, at = number(data, at - 1)",
                f"{into} = {convert}(({into} >> 1) ^ -({into} & 1))",
            )
        elif kind == "boolean":
            add(f"{into} = (False, True)[data[at]]; at += 1")
        elif kind == "enum":
            table = self._name("enum")
            self.known[table] = _members(part, hint)
            add(f"{into} = {table}[data[at]]; at += 1")
        elif kind == "array":
            self._blocks(body, depth, into, part["items"], typing.get_args(hint)[0])
        elif kind == "map":
            self._blocks(body, depth, into, part["values"], None)
        else:
            add(f"{into}, at = {self.record(part, hint)}(data, at)")

    def _instant(self, body: list[str], pad: str, into: str) -> None:
        """Instants of our days take six bytes: those at once, any others by the way."""
        six = [self._name("s") for _ in range(6)]
        more = " and ".join(f"{byte} > 127" for byte in six[:5])
        number = " + ".join(f"({byte} << {7 * index})" for index, byte in enumerate(six))
        body += [
            f"{pad}{', '.join(six)} = data[at:at + 6]",
            f"{pad}if {six[5]} < 128 and not {six[0]} & 1 and {more}:",
            f"{pad}    {into} = stamp(({number} - {_MARKS}) / 2000, UTC); at += 6",
            f"{pad}else:",
            f"{pad}    {into}, at = number(data, at)",
            f"{pad}    {into} = instant(({into} >> 1) ^ -({into} & 1))",
        ]

    def _union(self, body: list[str], depth: int, into: str, schema: list[Schema], hint: Any) -> None:
        """Of null and one other type: ours have no others."""
        if len(schema) != 2 or "null" not in schema:  # noqa: PLR2004  (its meaning stands beside it)
            raise TypeError(f"a union of {schema}: only one type and null can be read")
        pad = "    " * depth
        null = schema.index("null")
        (inner,) = (arg for arg in typing.get_args(hint) if arg is not types.NoneType)
        branch = self._name("b")
        body += [
            f"{pad}{branch} = data[at]; at += 1",
            f"{pad}if {branch} == {2 * null}: {into} = None",
            f"{pad}elif {branch} == {2 * (1 - null)}:",
        ]
        self._value(body, depth + 1, into, schema[1 - null], inner)
        body.append(f"{pad}else: odd()")

    def _blocks(self, body: list[str], depth: int, into: str, items: Schema, hint: Any) -> None:
        """An array's items as a tuple; a map's as a dict, if the items have no hint of their own."""
        pad = "    " * depth
        count, key, item = self._name("c"), self._name("k"), self._name("i")
        # A negative count comes with the size of its block: none of ours are written so, and fastavro can read it.
        body += [
            f"{pad}{into} = {'{}' if hint is None else '[]'}",
            f"{pad}while data[at]:",
            f"{pad}    {count}, at = number(data, at)",
            f"{pad}    if {count} & 1: odd()",
            f"{pad}    for _ in range({count} >> 1):",
        ]
        if hint is None:
            self._value(body, depth + 2, key, "string", str)
            self._value(body, depth + 2, item, items, str)
            body += [f"{pad}        {into}[{key}] = {item}", f"{pad}at += 1"]
        else:
            self._value(body, depth + 2, item, items, hint)
            body += [f"{pad}        {into}.append({item})", f"{pad}at += 1", f"{pad}{into} = tuple({into})"]


def _members(schema: dict[str, Any], hint: type[StrEnum]) -> dict[int, StrEnum]:
    """By the number on the wire, the member of a symbol."""
    return {2 * index: hint.__members__.get(symbol, hint("UNKNOWN")) for index, symbol in enumerate(schema["symbols"])}
