"""Each kind of change that breaks somebody is refused with the field, the rule and the remedy."""

import json

import pytest

from schemas.definitions import released, schema_files, schema_json, self_contained, version_key
from schemas.evolution import compare, lint

NAMES = sorted(schema_files())


@pytest.mark.parametrize("name", NAMES)
def test_the_tree_keeps_its_own_rules(name):
    assert lint(self_contained(name)) == []
    assert compare(self_contained(name), self_contained(name)) == []


def test_every_release_and_the_tree_get_on():
    for version, schemas in released().items():
        for name, schema in schemas.items():
            assert [f"{finding} (against {version})" for finding in compare(schema, self_contained(name))] == []


def field(schema, name):
    return next(f for f in schema["fields"] if f["name"] == name)


def after(change, name="ScaleRequest"):
    schema = json.loads(schema_json(name))
    change(schema)
    return schema


BREAKING = {
    "added without default": (
        lambda s: s["fields"].append({"name": "new", "type": "string", "doc": "d"}),
        "ScaleRequest.new",
        "added field without a default",
    ),
    "removed without default": (
        lambda s: s["fields"].remove(field(s, "target")),
        "ScaleRequest.target",
        "without a default is gone",
    ),
    "type": (lambda s: field(s, "title").update(type="bytes"), "ScaleRequest.title", "from string to bytes"),
    "widened number": (
        lambda s: field(s, "revision").update(type=["null", "double"]),
        "ScaleRequest.revision",
        "type changed",
    ),
    "logical type": (
        lambda s: field(s, "requestedAt")["type"].update(logicalType="timestamp-micros"),
        "ScaleRequest.requestedAt",
        "timestamp-micros",
    ),
    "no logical type": (
        lambda s: field(s, "requestedAt").update(type="long"),
        "ScaleRequest.requestedAt",
        "type changed",
    ),
    "union branch": (
        lambda s: field(s, "run").update(type=["null", "string", "int"]),
        "ScaleRequest.run",
        "type changed",
    ),
    "renamed": (lambda s: field(s, "target").update(name="targets"), "ScaleRequest.target", "gone"),
    "namespace": (lambda s: s.update(namespace="peaktime.v2"), "ScaleRequest", "namespace changed"),
    "symbol gone": (
        lambda s: field(s, "action")["type"]["symbols"].remove("PAUSE"),
        "ScaleRequest.action",
        "PAUSE is gone",
    ),
    "default changed": (lambda s: field(s, "origin").update(default="op"), "ScaleRequest.origin", "default changed"),
    "default removed": (lambda s: field(s, "origin").pop("default"), "ScaleRequest.origin", "added or removed"),
}


@pytest.mark.parametrize("case", BREAKING)
def test_breaking_changes_are_refused_both_ways_of_reading(case):
    change, where, rule = BREAKING[case]
    findings = compare(self_contained("ScaleRequest"), after(change))
    assert any(finding.field == where and rule in finding.rule and finding.remedy for finding in findings), findings


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["fields"].append({"name": "new", "type": "string", "doc": "d", "default": ""}),
        lambda s: s["fields"].remove(field(s, "title")),
        lambda s: field(s, "action")["type"]["symbols"].append("SCALE_SIDEWAYS"),
        lambda s: s["fields"].reverse(),
        lambda s: field(s, "title").update(doc="Something else."),
    ],
)
def test_other_changes_are_fine(change):
    assert compare(self_contained("ScaleRequest"), after(change)) == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda s: field(s, "action")["type"].pop("default"), "enum without the default UNKNOWN"),
        (lambda s: field(s, "action")["type"]["symbols"].remove("UNKNOWN"), "enum without the default UNKNOWN"),
        (lambda s: field(s, "title").pop("doc"), "a field without doc"),
        (lambda s: s.pop("doc"), "has no doc"),
        (lambda s: s.update(namespace="elsewhere"), "namespace 'elsewhere'"),
        (lambda s: field(s, "requestedAt").update(default=0), "a logical type with a default"),
    ],
)
def test_lint(change, rule):
    assert any(rule in finding.rule for finding in lint(after(change)))


def test_a_change_deep_inside_is_found_where_it_is():
    def change(schema):
        request = field(field(schema, "verdict")["type"], "request")["type"]
        field(request, "title")["type"] = "int"

    (finding,) = compare(self_contained("Entry"), after(change, "Entry"))
    assert finding.field == "Entry.verdict.request.title"


@pytest.mark.parametrize("name", NAMES)
def test_no_field_without_a_default_can_go(name):
    old = self_contained(name)
    for gone in (f for f in old["fields"] if "default" not in f and not isinstance(f["type"], dict)):
        new = {**old, "fields": [f for f in old["fields"] if f is not gone]}
        assert [finding.field for finding in compare(old, new)] == [f"{name}.{gone['name']}"]


def test_versions_sort_as_numbers():
    assert sorted(["1.10.0", "1.9.0", "0.1.0"], key=version_key) == ["0.1.0", "1.9.0", "1.10.0"]
