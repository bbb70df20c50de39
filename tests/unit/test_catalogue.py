"""The catalogue, walked: every topic is complete, and whoever relies on equal partitions gets them."""

import json
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

import schemas
from peaktime.errors import CatalogueError
from schemas.catalogue import DAY_MS, FOREVER_MS, load_catalogue, read_catalogue
from schemas.codec import Codec
from schemas.definitions import self_contained
from schemas.readable import from_json
from schemas.records import RECORDS, ScaleRequest

CATALOGUE = load_catalogue()
TEXT = files("schemas").joinpath("topics.yaml").read_text("utf-8")


@pytest.mark.parametrize("spec", list(CATALOGUE), ids=lambda spec: spec.short)
def test_every_topic_has_its_golden_example(spec):
    if spec.record is None:
        assert spec.short == "dead-letters"
        return
    folder = Path(schemas.__file__).parent / "examples"
    readable = json.loads((folder / f"{spec.record.__name__}.json").read_text("utf-8"))
    stored = (folder / f"{spec.record.__name__}.bin").read_bytes()
    record = from_json(spec.record, readable)
    assert Codec().decode(spec.record, stored) == record
    assert Codec().encode(record, spec.name) == stored


def test_every_record_has_one_topic():
    assert sorted(spec.record.__name__ for spec in CATALOGUE if spec.record) == sorted(cls.__name__ for cls in RECORDS)


#: Names of fields that name or quote a person, whatever the record.
PERSONAL = {
    "owner", "previousOwner", "takenBy", "acceptedBy", "acceptedWhy", "title", "description", "headline", "text",
    "why", "message", "permalink",
}  # fmt: skip
#: The same name, but ours: why a holiday rule moved a peak.
OURS = {("calendar-states", "why")}


def field_names(schema):
    """Every field of a self-contained schema, at any depth."""
    if isinstance(schema, list):
        return set().union(*map(field_names, schema))
    if not isinstance(schema, dict):
        return set()
    own = {field["name"] for field in schema.get("fields", ())}
    parts = [field["type"] for field in schema.get("fields", ())]
    return own.union(*map(field_names, [*parts, *(schema[name] for name in ("items", "values") if name in schema)]))


@pytest.mark.parametrize("spec", [spec for spec in CATALOGUE if spec.record], ids=lambda spec: spec.short)
def test_every_field_about_a_person_is_said(spec):
    names = field_names(self_contained(spec.record.__name__))
    assert set(spec.personal) <= names
    assert {name for name in names & PERSONAL if (spec.short, name) not in OURS} <= set(spec.personal)


def test_names_and_prefix():
    assert CATALOGUE.requests.name == "peaktime.requests.v1"
    assert CATALOGUE.requests.subject == "peaktime.requests.v1-value"
    assert CATALOGUE.calendar_states.short == "calendar-states"
    assert {spec.name for spec in load_catalogue("x.")} == {
        f"x.{spec.name.removeprefix('peaktime.')}" for spec in CATALOGUE
    }
    assert CATALOGUE.by_name("peaktime.facts.v1") is CATALOGUE.facts
    assert CATALOGUE.by_name("facts") is None
    assert CATALOGUE.requests.record is ScaleRequest


def test_partitions_are_equal():
    assert {spec.partitions for spec in CATALOGUE} == {12}


def test_inputs_of_folds_have_log_append_time():
    assert {spec.short for spec in CATALOGUE if spec.timestamp_type == "LogAppendTime"} == {
        "requests",
        "calendars",
        "outcomes",
    }


def test_changelogs_are_compacted_late_and_never_trimmed():
    for spec in (CATALOGUE.entries, CATALOGUE.facts, CATALOGUE.calendar_states):
        assert spec.configs() == {
            "cleanup.policy": "compact",
            "retention.ms": "-1",
            "message.timestamp.type": "CreateTime",
            "max.message.bytes": "1048588",
            "min.compaction.lag.ms": str(7 * DAY_MS),
        }


def test_everything_else_is_kept_over_a_year():
    changelogs = (CATALOGUE.entries, CATALOGUE.facts, CATALOGUE.calendar_states)
    for spec in CATALOGUE:
        assert spec.retention_ms == (FOREVER_MS if spec in changelogs else 400 * DAY_MS)
    assert CATALOGUE.deliveries.cleanup == "compact,delete"


def test_a_dead_letter_has_room_for_the_largest_record_and_its_headers():
    largest = max(spec.max_message_bytes for spec in CATALOGUE if spec is not CATALOGUE.dead_letters)
    assert CATALOGUE.dead_letters.max_message_bytes > 1.9 * largest


def test_rights_follow_the_way_of_an_event():
    assert "importer" not in CATALOGUE.requests.writers
    assert "pa" not in CATALOGUE.outcomes.writers
    assert all("auditor" in spec.readers and "auditor" not in spec.writers for spec in CATALOGUE)
    assert all(role in CATALOGUE.roles for spec in CATALOGUE for role in (*spec.readers, *spec.writers))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Requests"),
        ("record", "Nothing"),
        ("cleanup", "both"),
        ("timestamps", "now"),
        ("retention", "a while"),
        ("writers", ["nobody"]),
        ("readers", []),
        ("partitions", 0),
        ("doc", ""),
    ],
)
def test_a_mistake_is_named(field, value):
    document = yaml.safe_load(TEXT)
    document["topics"][0][field] = value
    with pytest.raises(CatalogueError) as caught:
        read_catalogue(yaml.safe_dump(document), "p.")
    assert field in caught.value.thing
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "Fold it"), ("members", []), ("watchers", ["nobody"]), ("doc", "")],
)
def test_a_mistake_in_a_group_is_named(field, value):
    document = yaml.safe_load(TEXT)
    document["groups"][0][field] = value
    with pytest.raises(CatalogueError) as caught:
        read_catalogue(yaml.safe_dump(document), "p.")
    assert field in caught.value.thing
    assert caught.value.remedy


def test_a_group_stands_once():
    document = yaml.safe_load(TEXT)
    document["groups"].append(document["groups"][0])
    with pytest.raises(CatalogueError, match="once"):
        read_catalogue(yaml.safe_dump(document), "p.")


@pytest.mark.parametrize("edit", [lambda topics: topics.pop(), lambda topics: topics.append(topics[0])])
def test_each_topic_stands_once(edit):
    document = yaml.safe_load(TEXT)
    edit(document["topics"])
    with pytest.raises(CatalogueError, match="once"):
        read_catalogue(yaml.safe_dump(document), "p.")
