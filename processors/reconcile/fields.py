"""Whose fields are whose, as ``managedFields`` say: what server-side apply needs to take away what was ours.

Pure. Apply takes a field away only from who set it by apply; what the POST that created an object set counts as set by
an update, and would stay for ever.
"""

from __future__ import annotations

from typing import Any

from peaktime.core.runs import Manifest

_PARTS = (("metadata", "labels"), ("metadata", "annotations"), ("spec",))


def taken_over(seen: Manifest, wanted: Manifest, manager: str) -> list[dict[str, Any]] | None:
    """The ``managedFields`` by which an apply also takes away what the manager's updates set and nobody wants any more.

    Args:
        seen: the object as it is.
        wanted: the object as it is to be applied.
        manager: the field manager.

    Returns:
        None if nothing of its updates is to be taken away.
    """
    entries: list[dict[str, Any]] = seen["metadata"].get("managedFields") or []
    updates = [entry for entry in entries if _is(entry, manager, "Update")]
    if not any(_left_over(entry.get("fieldsV1") or {}, wanted) for entry in updates):
        return None
    applied = next((entry for entry in entries if _is(entry, manager, "Apply")), None)
    fields: dict[str, Any] = {}
    for entry in (*updates, *([applied] if applied is not None else [])):
        fields = _merged(fields, entry.get("fieldsV1") or {})
    others = [entry for entry in entries if entry is not applied and entry not in updates]
    return [*others, {**(applied or updates[0]), "operation": "Apply", "fieldsV1": fields}]


def _is(entry: dict[str, Any], manager: str, operation: str) -> bool:
    own = entry.get("manager") == manager and entry.get("operation") == operation
    return own and not entry.get("subresource")


def _left_over(fields: dict[str, Any], wanted: Manifest) -> bool:
    for path in _PARTS:
        part, want = fields, wanted
        for name in path:
            part, want = part.get(f"f:{name}") or {}, want.get(name) or {}
        if _more(part, want):
            return True
    return False


def _more(fields: dict[str, Any], wanted: object) -> bool:
    """Whether there are fields that are not wanted; the members of lists are not looked into."""
    if not isinstance(wanted, dict):
        return False
    for key, inner in fields.items():
        if not key.startswith("f:"):
            continue
        name = key.removeprefix("f:")
        if name not in wanted or _more(inner, wanted[name]):
            return True
    return False


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {**one, **{key: _merged(one.get(key, {}), inner) for key, inner in other.items()}}
