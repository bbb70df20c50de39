"""What can be seen of a letter's bytes: their framing, the fields that can be read, and the bytes themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from peaktime.errors import DecodeError, SchemaUnavailableError
from schemas.codec import Codec
from schemas.definitions import self_contained
from schemas.partial import Parts, read_parts
from schemas.readable import shown

#: Bytes of the framings: a registry's, and single-object.
_REGISTRY_SIZE, _SINGLE_SIZE = 5, 10
_WIDTH = 16
_HEAD_LINES = 16
_AROUND = 3
_LONGEST_VALUE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the bytes say.

    Attributes:
        framing: how they begin, in words.
        fields: name and value of what can be read.
        stops: where reading stops, in words; empty if it does not.
        stopped_at: the byte where it stops; None if it does not.
        today: what would become of the record now, in words.
    """

    framing: str
    fields: tuple[tuple[str, str], ...]
    stops: str
    stopped_at: int | None
    today: str


def look_at(value: bytes | None, record: type[Any] | None, codec: Codec) -> Look:
    """Read as much as there is to read.

    Args:
        value: the letter's bytes.
        record: what the topic that it was found in holds; None if that is not known.
        codec: reads records.
    """
    if not value:
        return Look(framing="no bytes at all", fields=(), stops="", stopped_at=None, today=_today(value, record, codec))
    framing, start = _framing(value)
    parts, note = _parts(value, start, record, codec)
    stops, stopped_at = "", None
    if parts is not None and (parts.stopped_in or parts.end < len(value)):
        where = f"in the field {parts.stopped_in}" if parts.stopped_in else "after the last field"
        stops, stopped_at = f"{where}, at byte {parts.end} of {len(value)}", parts.end
    fields = tuple((part.name, _text(part.value)) for part in parts.fields) if parts is not None else ()
    today = _today(value, record, codec)
    return Look(framing=f"{framing}{note}", fields=fields, stops=stops, stopped_at=stopped_at, today=today)


def _framing(value: bytes) -> tuple[str, int | None]:
    if value[:1] == b"\x00" and len(value) >= _REGISTRY_SIZE:
        return f"a registry's, schema id {int.from_bytes(value[1:_REGISTRY_SIZE], 'big')}", _REGISTRY_SIZE
    if value[:2] == b"\xc3\x01" and len(value) >= _SINGLE_SIZE:
        return f"single-object, fingerprint {int.from_bytes(value[2:_SINGLE_SIZE], 'little'):016x}", _SINGLE_SIZE
    return f"none of ours: it begins with {value[:2].hex()}", None


def _parts(value: bytes, start: int | None, record: type[Any] | None, codec: Codec) -> tuple[Parts | None, str]:
    """What can be read, and a note on the schema that it was read with."""
    if start is None or record is None:
        return None, ""
    try:
        schema, start = codec.schema_of(record, value)
    except DecodeError:
        return read_parts(self_contained(record.__name__), value, start), ", not known; read as if it were today's"
    except SchemaUnavailableError as error:
        return read_parts(self_contained(record.__name__), value, start), f", read as if it were today's: {error}"
    return read_parts(schema, value, start), ""


def _today(value: bytes | None, record: type[Any] | None, codec: Codec) -> str:
    if record is None:
        return "nobody of ours reads that topic"
    try:
        codec.decode(record, value)
    except (DecodeError, SchemaUnavailableError) as error:
        return f"it still cannot be read: {error}"
    return "it can be read now: send it again"


def _text(value: Any) -> str:
    text = printable(str(shown(value)))
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}… ({len(text)} characters)"


def printable(text: str) -> str:
    """A text with everything escaped that a terminal might obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def dump(value: bytes, around: int | None) -> Iterator[str]:
    """The bytes as lines of hex and ASCII: the beginning, and what is around one place.

    Args:
        value: the bytes.
        around: a byte of interest; its line is marked.
    """
    lines = (len(value) + _WIDTH - 1) // _WIDTH
    middle = None if around is None else min(around, max(0, len(value) - 1)) // _WIDTH
    wanted = set(range(min(lines, _HEAD_LINES)))
    if middle is not None:
        wanted |= set(range(max(0, middle - _AROUND), min(lines, middle + _AROUND + 1)))
    before = -1
    for line in sorted(wanted):
        if line != before + 1:
            yield "…"
        before = line
        row = value[line * _WIDTH : (line + 1) * _WIDTH]
        ascii_ = "".join(chr(b) if 0x20 <= b < 0x7F else "." for b in row)  # noqa: PLR2004  (printable ASCII)
        mark = ">" if line == middle else " "
        yield f"{mark}{line * _WIDTH:08x}  {row.hex(' '):<{_WIDTH * 3 - 1}}  {ascii_}"
    if before < lines - 1:
        yield f"… {len(value)} bytes in all"
