"""Records to bytes and back.

For: every reader and writer of a topic. It writes one of two framings and reads both, telling them by the first bytes:

- with a schema registry, Confluent's: 0x00, the schema id (4 bytes, big-endian), the Avro body;
- without one, Avro's single-object encoding: 0xC3 0x01, the schema's CRC-64-AVRO fingerprint (8 bytes, little-endian),
  the Avro body.

Whatever the bytes are, ``decode`` gives a record or raises one of two errors, in bounded time and memory. Must not:
know topics' meaning, settings or brokers.
"""

from __future__ import annotations

import json
import struct
from io import BytesIO
from typing import Any, Protocol, TypeVar, cast

import fastavro
from fastavro.read import SchemaResolutionError

from peaktime.errors import DecodeError
from schemas import bounds
from schemas.definitions import by_fingerprint, parsed, schema_json, self_contained, todays_fingerprint
from schemas.direct import Reader, reader
from schemas.records import from_avro, to_avro

R = TypeVar("R")

REGISTRY_MAGIC = b"\x00"
SINGLE_OBJECT_MAGIC = b"\xc3\x01"
_REGISTRY_HEADER = struct.Struct(">bI")
_SINGLE_OBJECT_HEADER = struct.Struct("<2sQ")
MAX_RECORD_BYTES = 4 * 1024 * 1024
#: Whatever fastavro or the typed records raise for bytes that make no sense. Nothing else may be hidden.
_NONSENSE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    SchemaResolutionError,
)


class SchemaSource(Protocol):
    """What the codec asks of a schema registry; ``schemas.registry.SchemaRegistry`` is one."""

    def schema_by_id(self, schema_id: int) -> str | None:
        """The schema as JSON, or None if the registry knows no such id. Raises SchemaUnavailableError."""

    def has(self, schema_id: int) -> bool:
        """Whether ``schema_by_id`` answers without asking the registry."""

    def forget_unknown(self, schema_id: int) -> None:
        """Ask anew about an id that was not known a moment ago."""

    def id_of(self, subject: str, schema: str) -> int:
        """The id of a schema under a subject. Raises SchemaUnavailableError, SchemaRefusedError."""


class Codec:
    """Encodes and decodes the records of ``schemas.records``. Thread-safe.

    Args:
        registry: where schemas are registered; None for single-object encoding.
        max_bytes: a larger record is refused unread.
    """

    def __init__(self, registry: SchemaSource | None = None, *, max_bytes: int = MAX_RECORD_BYTES) -> None:
        self._registry = registry
        self._max_bytes = max_bytes
        self._prepared: dict[tuple[type[Any], str, int], tuple[Any, Any, bool]] = {}
        #: By class and frame, what reads records of today's schema, and where their body begins.
        self._direct: dict[tuple[type[Any], bytes], tuple[Reader, int]] = {}

    def encode(self, record: Any, topic: str) -> bytes:
        """The bytes of a record, framed.

        Args:
            record: one of ``schemas.records.RECORDS``.
            topic: full name of the topic that it goes to; names the subject in a registry.

        Raises:
            SchemaUnavailableError: the registry is away, and this schema was not registered through this codec before.
            SchemaRefusedError: the registry does not take the schema.
        """
        name = type(record).__name__
        out = BytesIO()
        if self._registry is None:
            out.write(_SINGLE_OBJECT_HEADER.pack(SINGLE_OBJECT_MAGIC, todays_fingerprint(name)))
        else:
            out.write(_REGISTRY_HEADER.pack(0, self._registry.id_of(f"{topic}-value", schema_json(name))))
        fastavro.schemaless_writer(out, parsed(name), to_avro(record))
        return out.getvalue()

    def decode(self, cls: type[R], data: bytes | None) -> R:
        """The record in the bytes, whichever known schema wrote it, as today's class.

        Raises:
            DecodeError: the bytes are no such record; its ``code`` says in which way.
            SchemaUnavailableError: the registry is away and the schema not known yet; the record may be good.
        """
        if data and len(data) < min(bounds.COUNTED_FROM_BYTES, self._max_bytes):
            frame = _REGISTRY_HEADER.size if data[0] == 0 else _SINGLE_OBJECT_HEADER.size
            direct = self._direct.get((cls, data[:frame]))
            if direct is not None:
                try:
                    found, end = direct[0](data, direct[1])
                except _NONSENSE:
                    end = -1  # something is odd: what, is said below
                if end == len(data):
                    return cast("R", found)
        return self._judged(cls, data)

    def _judged(self, cls: type[R], data: bytes | None) -> R:
        """The record in the bytes, by any schema; whatever is wrong with them is said."""
        thing = f"record {cls.__name__}"
        if not data:
            raise DecodeError(thing, "there are no bytes", code="empty")
        most = min(self._max_bytes, bounds.LARGEST.get(cls.__name__, self._max_bytes))
        if len(data) > most:
            raise DecodeError(thing, f"{len(data)} bytes, more than {most}", code="too-large")
        key, start = self._frame(thing, data)
        writer, plain, same = self._writer(thing, cls, key)
        body = BytesIO(data)
        body.seek(start)
        try:
            bounds.check_items(plain, data, start, todays=same)
            value = fastavro.schemaless_reader(body, writer, None if same else parsed(cls.__name__))
            record = from_avro(cls, value)
            bounds.check_values(record)
            if len(data) >= bounds.COUNTED_FROM_BYTES:
                bounds.check_identities(record)
        except EOFError:
            raise DecodeError(thing, f"the record ends early, after {len(data)} bytes", code="truncated") from None
        except RecursionError:
            raise DecodeError(thing, "nests too deeply", code="too-large") from None
        except (bounds.TooManyItemsError, bounds.TooLongError) as error:
            raise DecodeError(thing, str(error), code="too-large") from None
        except IndexError:
            # fastavro's way of saying so for a number cut short; also for a branch that is not there.
            code = "truncated" if body.tell() >= len(data) else "invalid"
            raise DecodeError(thing, "a number is cut short, or a symbol or branch is not there", code=code) from None
        except _NONSENSE as error:
            raise DecodeError(thing, f"{type(error).__name__}: {str(error)[:200]}", code="invalid") from None
        if body.tell() != len(data):
            raise DecodeError(thing, f"{len(data) - body.tell()} bytes too many", code="invalid")
        if same:
            self._direct[cls, data[:start]] = reader(cast("Any", cls)), start
        return record

    def ready(self, data: bytes | None) -> bool:
        """Whether ``decode`` needs no registry for these bytes, and so neither blocks nor waits."""
        if self._registry is None or not data or data[:1] != REGISTRY_MAGIC or len(data) < _REGISTRY_HEADER.size:
            return True
        return self._registry.has(_REGISTRY_HEADER.unpack_from(data)[1])

    def learn(self, data: bytes | None) -> None:
        """Fetch what ``decode`` needs for these bytes; for a thread, as it may take seconds.

        Raises:
            SchemaUnavailableError: the registry is away.
        """
        if not self.ready(data) and data and self._registry is not None:
            self._registry.schema_by_id(_REGISTRY_HEADER.unpack_from(data)[1])

    def forget_unknown(self, data: bytes | None) -> None:
        """Ask the registry anew about the schema of these bytes, should it not have known it a moment ago."""
        if self._registry is not None and data and data[:1] == REGISTRY_MAGIC and len(data) >= _REGISTRY_HEADER.size:
            self._registry.forget_unknown(_REGISTRY_HEADER.unpack_from(data)[1])

    def schema_of(self, cls: type[Any], data: bytes) -> tuple[Any, int]:
        """The self-contained schema that wrote the bytes, and where the Avro body begins.

        Args:
            cls: the record that is expected.
            data: the bytes.

        Raises:
            DecodeError: the framing is none, or its schema not known or not usable.
            SchemaUnavailableError: the registry is away and the schema not known yet.
        """
        thing = f"record {cls.__name__}"
        key, start = self._frame(thing, data)
        return self._writer(thing, cls, key)[1], start

    def _frame(self, thing: str, data: bytes) -> tuple[tuple[str, int], int]:
        if data[:1] == REGISTRY_MAGIC:
            if len(data) < _REGISTRY_HEADER.size:
                raise DecodeError(thing, "ends within the schema id", code="truncated")
            return ("id", _REGISTRY_HEADER.unpack_from(data)[1]), _REGISTRY_HEADER.size
        if data[:2] == SINGLE_OBJECT_MAGIC or data == SINGLE_OBJECT_MAGIC[:1]:
            if len(data) < _SINGLE_OBJECT_HEADER.size:
                raise DecodeError(thing, "ends within the schema's fingerprint", code="truncated")
            return ("fingerprint", _SINGLE_OBJECT_HEADER.unpack_from(data)[1]), _SINGLE_OBJECT_HEADER.size
        reason = f"starts with {data[:2].hex()}, neither a registry's 00 nor single-object c301"
        raise DecodeError(thing, reason, "Write Avro with one of these framings", code="magic")

    def _writer(self, thing: str, cls: type[Any], key: tuple[str, int]) -> tuple[Any, Any, bool]:
        """The writer's schema: for fastavro, as plain JSON, and whether it is today's reader schema."""
        kind, number = key
        cached = self._prepared.get((cls, kind, number))
        if cached is not None:
            return cached
        plain: Any
        if kind == "fingerprint" and number == todays_fingerprint(cls.__name__):
            writer, plain, same = parsed(cls.__name__), self_contained(cls.__name__), True
        else:
            plain = self._by_id(thing, number) if kind == "id" else by_fingerprint().get(number)
            if plain is None:
                remedy = "Register the schema, or write with a released one; then send the letter again"
                shown = str(number) if kind == "id" else f"{number:016x}"
                raise DecodeError(thing, f"no schema has the {kind} {shown}", remedy, code="unknown-schema")
            try:
                bounds.check_writer_schema(plain)
                writer = fastavro.parse_schema(plain)
            except (*_NONSENSE, RecursionError) as error:
                raise DecodeError(thing, f"the schema with {kind} {number} is not usable: {error}") from None
            # Not the fingerprint: it leaves out logical types and defaults.
            same = plain == self_contained(cls.__name__)
        self._prepared[cls, kind, number] = writer, plain, same
        return writer, plain, same

    def _by_id(self, thing: str, schema_id: int) -> Any:
        if self._registry is None:
            return None
        text = self._registry.schema_by_id(schema_id)
        if text is None:
            return None
        if len(text) > bounds.MAX_SCHEMA_CHARACTERS:
            raise DecodeError(thing, f"the schema with id {schema_id} is {len(text)} characters long", code="too-large")
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DecodeError(thing, f"the schema with id {schema_id} is no JSON: {error}") from None
        if not isinstance(plain, (str, list, dict)):
            raise DecodeError(thing, f"the schema with id {schema_id} is no schema")
        return plain
