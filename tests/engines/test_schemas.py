"""`peaktime schemas` and the codec on a real registry."""

import json

import pytest
from support.write_golden import GOLDEN

from peaktime import cli
from peaktime.errors import DecodeError, SchemaRefusedError
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.definitions import schema_json
from schemas.registry import SchemaRegistry


@pytest.fixture
def registry(schema_registry):
    with SchemaRegistry(schema_registry.url) as client:
        yield client


@pytest.fixture
def catalogue(topic_prefix):
    return load_catalogue(topic_prefix)


@pytest.fixture
def schemas(schema_registry, topic_prefix, monkeypatch):
    monkeypatch.setenv("PEAKTIME_SCHEMA_REGISTRY_URL", schema_registry.url)
    monkeypatch.setenv("PEAKTIME_TOPIC_PREFIX", topic_prefix)
    return lambda *options: cli.run(["schemas", *options])


def test_register_is_idempotent_and_check_agrees(schemas, registry, catalogue, capsys):
    assert schemas("check") == 1
    assert "peaktime schemas register" in capsys.readouterr().err
    assert schemas("register") == 0
    first = capsys.readouterr().out
    assert first.count("version 1") == 8
    assert schemas("register") == 0
    assert capsys.readouterr().out == first
    assert schemas("check") == 0, capsys.readouterr().err
    assert {registry.compatibility(spec.subject) for spec in catalogue if spec.record} == {"FULL_TRANSITIVE"}


def test_every_record_goes_through_it(schemas, registry, schema_registry, catalogue):
    assert schemas("register") == 0
    for record in GOLDEN:
        spec = next(spec for spec in catalogue if spec.record is type(record))
        data = Codec(registry).encode(record, spec.name)
        with SchemaRegistry(schema_registry.url) as fresh:
            assert Codec(fresh).decode(type(record), data) == record


def test_a_breaking_change_is_refused_by_the_registry_too(registry, catalogue):
    subject = catalogue.requests.subject
    registry.register(subject, schema_json("ScaleRequest"))
    broken = json.loads(schema_json("ScaleRequest"))
    broken["fields"].append({"name": "must", "type": "string"})
    assert registry.incompatibilities(subject, json.dumps(broken))
    with pytest.raises(SchemaRefusedError):
        registry.register(subject, json.dumps(broken))


def test_an_id_that_nobody_registered(registry):
    with pytest.raises(DecodeError) as caught:
        Codec(registry).decode(type(GOLDEN[0]), b"\x00\x7f\xff\xff\xffabc")
    assert caught.value.code == "unknown-schema"
