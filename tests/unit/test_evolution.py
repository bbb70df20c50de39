"""Each kind of change that breaks somebody is refused with the field, the rule and the remedy."""

import json

import pytest

from peaktime import cli
from peaktime.cli import schemas as commands
from schemas import definitions
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
    "default added": (lambda s: field(s, "target").update(default="infra"), "ScaleRequest.target", "added or removed"),
    "nullable": (lambda s: field(s, "title").update(type=["null", "string"]), "ScaleRequest.title", "type changed"),
    "union turned": (lambda s: field(s, "run").update(type=["string", "null"]), "ScaleRequest.run", "type changed"),
    "record renamed": (lambda s: s.update(name="Request"), "Request", "from record ScaleRequest to record Request"),
    "enum renamed": (lambda s: field(s, "action")["type"].update(name="Act"), "ScaleRequest.action", "enum Act"),
    "enum default gone": (
        lambda s: (field(s, "action")["type"].pop("default"), field(s, "action")["type"]["symbols"].append("NEW")),
        "ScaleRequest.action",
        "symbols changed without a default",
    ),
}
RENAMED = {"record renamed": "ScaleRequest", "enum renamed": "RequestAction"}
BREAKING_INSIDE = {
    "items of an array": (
        "CalendarSnapshot",
        lambda s: field(s, "days")["type"].update(items="string"),
        "CalendarSnapshot.days",
        "type changed",
    ),
    "field of an item": (
        "CalendarSnapshot",
        lambda s: field(s, "days")["type"]["items"]["fields"].append({"name": "new", "type": "int", "doc": "d"}),
        "CalendarSnapshot.days.new",
        "added field without a default",
    ),
    "date": (
        "CalendarSnapshot",
        lambda s: field(s, "coversFrom").update(type="int"),
        "CalendarSnapshot.coversFrom",
        "type changed",
    ),
}


@pytest.mark.parametrize("case", BREAKING)
def test_breaking_changes_are_refused_both_ways_of_reading(case):
    change, where, rule = BREAKING[case]
    findings = compare(self_contained("ScaleRequest"), after(change))
    assert any(finding.field == where and rule in finding.rule and finding.remedy for finding in findings), findings


@pytest.mark.parametrize("case", BREAKING_INSIDE)
def test_breaking_changes_deep_inside_are_refused(case):
    name, change, where, rule = BREAKING_INSIDE[case]
    findings = compare(self_contained(name), after(change, name))
    assert any(finding.field == where and rule in finding.rule and finding.remedy for finding in findings), findings


@pytest.mark.parametrize("size", [4, 12])
def test_the_size_of_a_fixed_type_stays(size):
    def fixed(size):
        part = {"type": "fixed", "name": "Digest", "namespace": "peaktime.v1", "size": size}
        return after(lambda s: s["fields"].append({"name": "digest", "type": part, "doc": "d", "default": ""}))

    (finding,) = compare(fixed(8), fixed(size))
    assert (finding.field, finding.rule) == ("ScaleRequest.digest", "the size changed")


@pytest.mark.parametrize("case", sorted(BREAKING.keys() - RENAMED.keys()))
def test_a_breaking_change_of_the_tree_fails_the_check_with_field_rule_and_remedy(case, tree, capsys):
    change, where, rule = BREAKING[case]
    assert cli.run(["schemas", "check"]) == 0
    tree.release("0.9.0")
    tree.change("ScaleRequest", change)
    assert cli.run(["schemas", "check"]) == 1
    told = capsys.readouterr().err.splitlines()
    finding = next(
        f for f in compare(tree.released["0.9.0"]["ScaleRequest"], tree.schema("ScaleRequest")) if rule in f.rule
    )
    assert f"{where}: {finding.rule}. {finding.remedy} (against 0.9.0)" in told
    assert finding.remedy


@pytest.mark.parametrize("case", RENAMED)
def test_a_renamed_type_that_others_use_fails_the_check(case, tree, capsys):
    tree.change("ScaleRequest", BREAKING[case][0])
    assert cli.run(["schemas", "check"]) == 1
    told = capsys.readouterr().err
    assert f"schema type {RENAMED[case]}: is named but not defined" in told
    assert "give it its name back" in told


def test_a_record_that_is_gone_fails_the_check(tree, capsys):
    tree.release("0.9.0")
    del tree.files["Delivery"]
    tree.forget()
    assert cli.run(["schemas", "check"]) == 1
    assert "Delivery: the record is gone, and 0.9.0 has it" in capsys.readouterr().err


def test_a_release_is_frozen_once_and_only_if_all_is_well(tree, tmp_path, capsys):
    into = ["--into", str(tmp_path)]
    assert cli.run(["schemas", "release", "0.9.0", *into]) == 0
    assert {p.stem: json.loads(p.read_text("utf-8")) for p in (tmp_path / "0.9.0").iterdir()} == {
        name: self_contained(name) for name in NAMES
    }
    assert cli.run(["schemas", "release", "0.9.0", *into]) == 1
    assert "Releases never change" in capsys.readouterr().err
    assert cli.run(["schemas", "release", "next", *into]) == 2
    tree.change("ScaleRequest", lambda s: s.pop("doc"))
    assert cli.run(["schemas", "release", "0.10.0", *into]) == 1
    assert not (tmp_path / "0.10.0").exists()


class Tree:
    """A working tree and releases that a test may change."""

    def __init__(self):
        self.files = dict(definitions.schema_files())
        self.released = dict(definitions.released())

    def schema(self, name):
        return json.loads(self.files[name])

    def release(self, version):
        self.released[version] = {name: self_contained(name) for name in self.files}

    def change(self, name, change):
        schema = self.schema(name)
        change(schema)
        self.files[name] = json.dumps(schema)
        self.forget()

    @staticmethod
    def forget():
        for cached in (self_contained, definitions.parsed, definitions._named_types, definitions.by_fingerprint):
            cached.cache_clear()
        definitions.todays_fingerprint.cache_clear()


@pytest.fixture
def tree(monkeypatch):
    made = Tree()
    for module in (definitions, commands):
        monkeypatch.setattr(module, "schema_files", lambda: made.files)
        monkeypatch.setattr(module, "released", lambda: made.released)
    made.forget()
    yield made
    monkeypatch.undo()
    made.forget()


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
        (lambda s: field(s, "action")["type"].pop("doc"), "RequestAction has no doc"),
        (lambda s: field(s, "action")["type"].update(namespace="other"), "namespace 'other'"),
        (lambda s: field(s, "action")["type"].update(default="DELETE"), "enum without the default UNKNOWN"),
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
