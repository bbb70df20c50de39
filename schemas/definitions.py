"""The Avro schemas of ``schemas/avsc`` and ``schemas/released``, read, joined and fingerprinted.

For: whoever needs a schema as such. The files refer to one another by name; ``self_contained`` writes each named type
out where it is first used, so that a schema can stand alone in a registry. Must not: read or write records.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, cast

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from peaktime.errors import CatalogueError

NAMESPACE = "peaktime.v1"
PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
NAMED = frozenset({"record", "enum", "fixed"})
#: A schema as JSON gives it: a name, a union, or a definition.
Schema = str | list[Any] | dict[str, Any]


def schema_files() -> dict[str, str]:
    """The text of each ``schemas/avsc/<Record>.avsc``, by record name."""
    folder = files("schemas").joinpath("avsc")
    return {path.name.removesuffix(".avsc"): path.read_text("utf-8") for path in _avsc(folder)}


@cache
def self_contained(name: str) -> dict[str, Any]:
    """Today's schema of a record, with every named type written out at first use. Treat it as read-only.

    Raises:
        CatalogueError: if there is no such schema or a type that it names is not defined.
    """
    known = _named_types()
    if name not in known:
        raise CatalogueError(f"schema {name}", "is not in schemas/avsc", "Name one of the files there")
    return cast("dict[str, Any]", inlined(known[name], known))


def schema_json(name: str) -> str:
    """Today's self-contained schema as compact JSON, the same text each time."""
    return compact(self_contained(name))


def compact(schema: Schema) -> str:
    """A schema as JSON without spaces."""
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


@cache
def parsed(name: str) -> Any:
    """Today's schema of a record as fastavro wants it."""
    return fastavro.parse_schema(self_contained(name))


@cache
def todays_fingerprint(name: str) -> int:
    """CRC-64-AVRO of today's schema of a record."""
    return crc64(self_contained(name))


@cache
def released() -> dict[str, dict[str, dict[str, Any]]]:
    """Every released schema: version → record name → self-contained schema; versions in the order of release."""
    folder = files("schemas").joinpath("released")
    if not folder.is_dir():
        return {}
    versions = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: version_key(path.name))
    return {
        version.name: {path.name.removesuffix(".avsc"): json.loads(path.read_text("utf-8")) for path in _avsc(version)}
        for version in versions
    }


def version_key(version: str) -> tuple[int, ...]:
    """Sorts ``1.10.0`` after ``1.9.0``."""
    return tuple(int(part) if part.isdigit() else -1 for part in version.split("."))


@cache
def by_fingerprint() -> dict[int, Schema]:
    """Every schema that single-object records may have been written with: released ones, and today's above all."""
    known: dict[int, Schema] = {}
    for schemas in released().values():
        known.update({crc64(schema): schema for schema in schemas.values()})
    known.update({todays_fingerprint(name): self_contained(name) for name in schema_files()})
    return known


def crc64(schema: Schema) -> int:
    """CRC-64-AVRO of the parsing canonical form, as a number."""
    # fastavro gives the eight bytes in the order of the wire, which is little-endian.
    return int.from_bytes(bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")), "little")


def inlined(schema: Schema, known: dict[str, dict[str, Any]], seen: set[str] | None = None) -> Schema:
    """The schema with each type of ``known`` written out where it is first named."""
    seen = set() if seen is None else seen
    if isinstance(schema, list):
        return [inlined(branch, known, seen) for branch in schema]
    if isinstance(schema, str):
        short = short_name(schema)
        if schema in PRIMITIVES or short in seen:
            return schema
        if short not in known:
            remedy = "Define it in schemas/avsc; if it was renamed, give it its name back: names are on the wire"
            raise CatalogueError(f"schema type {schema}", "is named but not defined", remedy)
        return inlined(known[short], known, seen)
    kind = schema["type"]
    if kind in NAMED:
        short = short_name(schema["name"])
        if short in seen:
            return cast("str", schema["name"])
        seen.add(short)
    if kind == "record":
        return {**schema, "fields": [{**f, "type": inlined(f["type"], known, seen)} for f in schema["fields"]]}
    if kind == "array":
        return {**schema, "items": inlined(schema["items"], known, seen)}
    if kind == "map":
        return {**schema, "values": inlined(schema["values"], known, seen)}
    if kind in NAMED or kind in PRIMITIVES:
        return schema
    return {**schema, "type": inlined(kind, known, seen)}


def _avsc(folder: Traversable) -> list[Traversable]:
    found = (path for path in folder.iterdir() if path.name.endswith(".avsc"))
    return sorted(found, key=lambda path: path.name)


@cache
def _named_types() -> dict[str, dict[str, Any]]:
    return named_types([json.loads(text) for text in schema_files().values()])


def named_types(schemas: Iterable[Schema]) -> dict[str, dict[str, Any]]:
    """Every record, enum and fixed type that the schemas define, by its name without namespace.

    Raises:
        CatalogueError: if two have one name.
    """
    known: dict[str, dict[str, Any]] = {}

    def collect(schema: Schema) -> None:
        if isinstance(schema, list):
            for branch in schema:
                collect(branch)
        elif isinstance(schema, dict):
            if schema["type"] in NAMED:
                name = short_name(schema["name"])
                if name in known:
                    remedy = "Define it once and refer to it by name"
                    raise CatalogueError(f"schema type {name}", "is defined twice", remedy)
                known[name] = schema
            elif not isinstance(schema["type"], str):
                collect(schema["type"])
            for part in (schema.get("items"), schema.get("values"), *(f["type"] for f in schema.get("fields", ()))):
                if part is not None:
                    collect(part)

    for schema in schemas:
        collect(schema)
    return known


def short_name(name: str) -> str:
    """A type's name without its namespace."""
    return name.rpartition(".")[2]
