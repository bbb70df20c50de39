"""What may change in a schema, and what may not.

For: ``peaktime schemas check`` and the tests. Every record that was ever written stays readable and every released
reader goes on reading, so each pair of versions is held together both ways; and what Avro's own rules let through is
refused as well. Must not: read files or records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from schemas.definitions import NAMED, NAMESPACE, PRIMITIVES, Schema, short_name

_UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a schema that must not be.

    Attributes:
        field: where: record and field, ``Entry.scaleOut.title``.
        rule: what is broken.
        remedy: how to do it instead.
    """

    field: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field}: {self.rule}. {self.remedy}"


def lint(schema: Schema) -> list[Finding]:
    """What one self-contained schema must fulfil by itself."""
    return list(_lint(schema, "", None))


def compare(old: Schema, new: Schema) -> list[Finding]:
    """What keeps readers and writers of two self-contained schemas of one record apart, either way."""
    return list(_compare(old, new, "", _Names(old), _Names(new)))


def _lint(schema: Schema, path: str, namespace: str | None) -> Iterator[Finding]:
    if isinstance(schema, str):
        return
    if isinstance(schema, list):
        for branch in schema:
            yield from _lint(branch, path, namespace)
        return
    kind = schema["type"]
    if kind in NAMED:
        namespace = schema.get("namespace", namespace)
        here = path or schema["name"]
        if namespace != NAMESPACE:
            yield Finding(here, f"namespace {namespace!r}", f"Every type stays in {NAMESPACE}: its name is on the wire")
        if not schema.get("doc"):
            yield Finding(here, f"{schema['name']} has no doc", "Say what it is, in a sentence")
        if kind == "enum" and (schema.get("default") != _UNKNOWN or _UNKNOWN not in schema["symbols"]):
            remedy = 'Add the symbol UNKNOWN and "default": "UNKNOWN", so that older readers survive newer symbols'
            yield Finding(here, "an enum without the default UNKNOWN", remedy)
    if kind == "record":
        for field in schema["fields"]:
            inner = f"{path or schema['name']}.{field['name']}"
            if not field.get("doc"):
                yield Finding(inner, "a field without doc", "Say what it is, its unit and its zone")
            if "default" in field and field["default"] is not None and _logical(field["type"]):
                remedy = 'Make it ["null", …] with the default null: readers take the default as it stands'
                yield Finding(inner, "a logical type with a default", remedy)
            yield from _lint(field["type"], inner, namespace)
    elif kind in ("array", "map"):
        yield from _lint(schema["items" if kind == "array" else "values"], path, namespace)
    elif kind not in PRIMITIVES and kind not in NAMED:
        yield from _lint(kind, path, namespace)


class _Names:
    """The named types of one schema, found by their short names."""

    def __init__(self, schema: Schema) -> None:
        self._types: dict[str, tuple[dict[str, Any], str | None]] = {}
        self._collect(schema, None)

    def _collect(self, schema: Schema, namespace: str | None) -> None:
        if isinstance(schema, list):
            for branch in schema:
                self._collect(branch, namespace)
        elif isinstance(schema, dict):
            if schema["type"] in NAMED:
                namespace = schema.get("namespace", namespace)
                self._types[short_name(schema["name"])] = (schema, namespace)
            for part in (schema.get("items"), schema.get("values"), *(f["type"] for f in schema.get("fields", ()))):
                if part is not None:
                    self._collect(part, namespace)

    def resolved(self, schema: Schema) -> Schema:
        if isinstance(schema, str) and schema not in PRIMITIVES:
            return self._types[short_name(schema)][0]
        return schema

    def namespace(self, schema: dict[str, Any]) -> str | None:
        return self._types[short_name(schema["name"])][1]


def _compare(old: Schema, new: Schema, path: str, olds: _Names, news: _Names) -> Iterator[Finding]:
    # A type that is named again was compared where it is defined: both sides are walked there.
    if isinstance(old, str) and isinstance(new, str) and short_name(old) == short_name(new):
        return
    old, new = olds.resolved(old), news.resolved(new)
    here = path or (new["name"] if isinstance(new, dict) and "name" in new else "")
    before, after = _kind(old), _kind(new)
    if before != after:
        remedy = "Add a field with another name and a default, and fill both for as long as the old one is read"
        yield Finding(here, f"the type changed from {before} to {after}", remedy)
    elif isinstance(old, list) and isinstance(new, list):
        for old_branch, new_branch in zip(old, new, strict=True):
            yield from _compare(old_branch, new_branch, path, olds, news)
    elif isinstance(old, dict) and isinstance(new, dict):
        yield from _compare_definitions(old, new, here, olds, news)


def _compare_definitions(
    old: dict[str, Any],
    new: dict[str, Any],
    here: str,
    olds: _Names,
    news: _Names,
) -> Iterator[Finding]:
    kind = new["type"]
    if kind in NAMED and olds.namespace(old) != news.namespace(new):
        rule = f"the namespace changed from {olds.namespace(old)} to {news.namespace(new)}"
        yield Finding(here, rule, "Keep the namespace; another contract is another topic, ….v2")
    if kind == "record":
        yield from _compare_fields(old, new, here, olds, news)
    elif kind == "enum" and not (old.get("default") and new.get("default")):
        if set(old["symbols"]) != set(new["symbols"]):
            yield Finding(here, "the symbols changed without a default", "Give the enum the default UNKNOWN first")
    elif kind == "enum" and (gone := [symbol for symbol in old["symbols"] if symbol not in new["symbols"]]):
        remedy = "Keep it, and say in the doc that nobody writes it any more"
        yield Finding(here, f"the symbol {', '.join(gone)} is gone, so older records lose their meaning", remedy)
    elif kind == "fixed" and old["size"] != new["size"]:
        yield Finding(here, "the size changed", "Add a field with another name")
    elif kind in ("array", "map"):
        part = "items" if kind == "array" else "values"
        yield from _compare(old[part], new[part], here, olds, news)


def _compare_fields(
    old: dict[str, Any],
    new: dict[str, Any],
    here: str,
    olds: _Names,
    news: _Names,
) -> Iterator[Finding]:
    before = {field["name"]: field for field in old["fields"]}
    after = {field["name"]: field for field in new["fields"]}
    for name, field in after.items():
        if name not in before and "default" not in field:
            remedy = "Give it a default, so that older records can be read"
            yield Finding(f"{here}.{name}", "an added field without a default", remedy)
        elif name in before:
            if ("default" in before[name]) != ("default" in field):
                remedy = "Leave it as it was: the other version's records may lack the field"
                yield Finding(f"{here}.{name}", "a default was added or removed", remedy)
            elif before[name].get("default") != field.get("default"):
                remedy = "Keep the default: records without the field would change their meaning"
                yield Finding(f"{here}.{name}", "the default changed", remedy)
            yield from _compare(before[name]["type"], field["type"], f"{here}.{name}", olds, news)
    for name, field in before.items():
        if name not in after and "default" not in field:
            remedy = "Keep it: released readers need it. A renamed field is a new one with a default"
            yield Finding(f"{here}.{name}", "a field without a default is gone", remedy)


def _kind(schema: Schema) -> str:
    """A type as one compares it: without docs, symbols and fields."""
    if isinstance(schema, str):
        return schema
    if isinstance(schema, list):
        return f"[{', '.join(_kind(branch) for branch in schema)}]"
    kind = schema["type"]
    if kind in NAMED:
        return f"{kind} {short_name(schema['name'])}"
    if not isinstance(kind, str):
        return _kind(kind)
    return f"{kind} ({schema['logicalType']})" if "logicalType" in schema else kind


def _logical(schema: Schema) -> bool:
    if isinstance(schema, list):
        return any(_logical(branch) for branch in schema)
    return isinstance(schema, dict) and "logicalType" in schema
