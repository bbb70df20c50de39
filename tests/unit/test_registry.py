"""The registry's client, against a registry that behaves as Confluent documents it."""

import base64
import json
import re
from urllib.parse import unquote

import httpx
import pytest
import stamina
from support.write_golden import GOLDEN

from peaktime.errors import DecodeError, SchemaRefusedError, SchemaUnavailableError
from schemas.codec import Codec
from schemas.definitions import schema_json
from schemas.records import Delivery, ScaleRequest
from schemas.registry import SchemaRegistry

SUBJECT = "peaktime.requests.v1-value"
SCHEMA = schema_json("ScaleRequest")


@pytest.fixture(autouse=True)
def without_waiting():
    with stamina.set_testing(True, attempts=3):
        yield


class FakeConfluent:
    """What a registry answers, after Confluent's API reference."""

    def __init__(self):
        self.ids = {}
        self.subjects = {}
        self.levels = {}
        self.calls = []
        self.fail = []
        self.user = None
        self.refuse = None

    def __call__(self, request):
        path = request.url.raw_path.decode().partition("?")[0]
        self.calls.append((request.method, path))
        if self.fail:
            failure = self.fail.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return failure
        if self.user and request.headers.get("authorization") != "Basic " + base64.b64encode(self.user).decode():
            return httpx.Response(401, json={"error_code": 401, "message": "Unauthorized"})
        body = json.loads(request.content) if request.content else {}
        return self.answer(request.method, path, body)

    def answer(self, method, path, body):
        if match := re.fullmatch(r"/schemas/ids/(\d+)", path):
            found = self.ids.get(int(match[1]))
            return httpx.Response(200, json=found) if found else not_found(40403, "Schema not found")
        if match := re.fullmatch(r"/config/(.+)", path):
            subject = unquote(match[1])
            if method == "PUT":
                self.levels[subject] = body["compatibility"]
                return httpx.Response(200, json=body)
            level = self.levels.get(subject)
            return (
                httpx.Response(200, json={"compatibilityLevel": level}) if level else not_found(40408, "not configured")
            )
        if match := re.fullmatch(r"/subjects/([^/]+)", path):
            return self.found(unquote(match[1]), body["schema"])
        if match := re.fullmatch(r"/subjects/([^/]+)/versions", path):
            return self.registered(unquote(match[1]), body)
        if match := re.fullmatch(r"/subjects/([^/]+)/versions/(\w+)", path):
            versions = self.subjects.get(unquote(match[1]))
            if not versions:
                return not_found(40401, "Subject not found")
            return httpx.Response(200, json=versions[-1 if match[2] == "latest" else int(match[2]) - 1])
        if re.fullmatch(r"/compatibility/subjects/[^/]+/versions", path):
            if self.refuse:
                return httpx.Response(200, json={"is_compatible": False, "messages": [self.refuse]})
            return httpx.Response(200, json={"is_compatible": True})
        return httpx.Response(404, text="<html>no such page</html>")

    def found(self, subject, schema):
        if subject not in self.subjects:
            return not_found(40401, "Subject not found")
        for version in self.subjects[subject]:
            if version["schema"] == schema:
                return httpx.Response(200, json=version)
        return not_found(40403, "Schema not found")

    def registered(self, subject, body):
        if self.refuse:
            return httpx.Response(409, json={"error_code": 409, "message": self.refuse})
        if body["schema"] == "nonsense":
            return httpx.Response(422, json={"error_code": 42201, "message": "Invalid Avro schema"})
        known = next((i for i, s in self.ids.items() if s == body), None)
        schema_id = known or len(self.ids) + 1
        self.ids[schema_id] = body
        versions = self.subjects.setdefault(subject, [])
        versions.append({"subject": subject, "version": len(versions) + 1, "id": schema_id, **body})
        return httpx.Response(200, json={"id": schema_id})


def not_found(code, message):
    return httpx.Response(404, json={"error_code": code, "message": message})


@pytest.fixture
def confluent():
    return FakeConfluent()


@pytest.fixture
def registry(confluent):
    with SchemaRegistry("http://registry.example", transport=httpx.MockTransport(confluent)) as client:
        yield client


def test_registering_is_idempotent_and_full_transitive(registry, confluent):
    first = registry.register(SUBJECT, SCHEMA)
    again = registry.register(SUBJECT, SCHEMA)
    assert (first.version, first.id) == (1, 1)
    assert again == first
    assert confluent.levels == {SUBJECT: "FULL_TRANSITIVE"}
    assert confluent.calls.count(("POST", f"/subjects/{SUBJECT}/versions")) == 1
    # The level is set before the first version is: what comes in is checked from the start.
    calls = [path for method, path in confluent.calls if method in ("PUT", "POST") and path != f"/subjects/{SUBJECT}"]
    assert calls[0] == f"/config/{SUBJECT}"


def test_a_level_that_somebody_changed_is_set_again(registry, confluent):
    registry.register(SUBJECT, SCHEMA)
    confluent.levels[SUBJECT] = "NONE"
    registry.register(SUBJECT, SCHEMA)
    assert confluent.levels == {SUBJECT: "FULL_TRANSITIVE"}


def test_subjects_are_quoted(registry, confluent):
    registry.register("a/b c", SCHEMA)
    assert ("POST", "/subjects/a%2Fb%20c") in confluent.calls
    assert "a/b c" in confluent.subjects


def test_an_id_is_asked_for_once(registry, confluent):
    registry.register(SUBJECT, SCHEMA)
    fresh = SchemaRegistry("http://registry.example", transport=httpx.MockTransport(confluent))
    assert not fresh.has(1)
    confluent.calls.clear()
    assert [fresh.schema_by_id(1) for _ in range(3)] == [SCHEMA] * 3
    assert confluent.calls == [("GET", "/schemas/ids/1")]
    assert fresh.has(1)


def test_an_unknown_id_is_remembered_for_a_moment_only(confluent):
    now = [0.0]
    registry = SchemaRegistry("http://registry.example", transport=httpx.MockTransport(confluent), clock=lambda: now[0])
    assert [registry.schema_by_id(1) for _ in range(3)] == [None] * 3
    assert len(confluent.calls) == 1
    assert registry.has(1)
    registry.register(SUBJECT, SCHEMA)
    now[0] = 6.0
    assert registry.schema_by_id(1) == SCHEMA


def test_whoever_says_that_an_id_was_registered_has_it_asked_for_at_once(confluent):
    registry = SchemaRegistry("http://registry.example", transport=httpx.MockTransport(confluent))
    codec, data = Codec(registry), b"\x00\x00\x00\x00\x01body"
    assert registry.schema_by_id(1) is None
    confluent_knows = SchemaRegistry("http://registry.example", transport=httpx.MockTransport(confluent))
    confluent_knows.register(SUBJECT, SCHEMA)
    assert codec.ready(data)
    codec.forget_unknown(data)
    assert not codec.ready(data)
    codec.learn(data)
    assert registry.schema_by_id(1) == SCHEMA


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.Response(500, json={"error_code": 50001, "message": "store"}),
        httpx.Response(503, text="starting"),
        httpx.Response(404, text="<html>"),
        httpx.Response(200, text="hello"),
        httpx.Response(429, json={"error_code": 429, "message": "later"}),
    ],
    ids=lambda failure: getattr(failure, "status_code", type(failure).__name__),
)
def test_away_is_tried_again_and_then_said(registry, confluent, failure):
    registry.register(SUBJECT, SCHEMA)
    confluent.fail = [failure] * 2
    fresh = SchemaRegistry("http://registry.example", transport=httpx.MockTransport(confluent))
    assert fresh.schema_by_id(1) == SCHEMA
    confluent.fail = [failure] * 3
    with pytest.raises(SchemaUnavailableError) as caught:
        registry.schema_by_id(99)
    assert "http://registry.example" in caught.value.thing
    assert not registry.has(99)


def test_what_was_seen_survives_an_outage(registry, confluent):
    data = Codec(registry).encode(GOLDEN[0], "peaktime.requests.v1")
    codec = Codec(registry)
    codec.decode(ScaleRequest, data)
    confluent.fail = [httpx.ConnectError("refused")] * 100
    assert codec.decode(ScaleRequest, data) == GOLDEN[0]
    assert codec.encode(GOLDEN[0], "peaktime.requests.v1") == data
    with pytest.raises(SchemaUnavailableError):
        codec.decode(ScaleRequest, b"\x00\x00\x00\x00\x63" + data[5:])


def test_an_unknown_id_is_the_records_fault(registry):
    with pytest.raises(DecodeError) as caught:
        Codec(registry).decode(ScaleRequest, b"\x00\x00\x00\x00\x63abc")
    assert caught.value.code == "unknown-schema"


def test_basic_auth(confluent):
    confluent.user = b"me:s3cret"
    transport = httpx.MockTransport(confluent)
    good = SchemaRegistry("http://registry.example", username="me", password="s3cret", transport=transport)
    assert good.register(SUBJECT, SCHEMA).id == 1
    bad = SchemaRegistry("http://registry.example", username="me", password="wr0ng", transport=transport)
    with pytest.raises(SchemaUnavailableError) as caught:
        bad.latest(SUBJECT)
    assert "PEAKTIME_SCHEMA_REGISTRY_USERNAME" in caught.value.remedy
    assert "wr0ng" not in f"{caught.value!r} {bad!r}"


def test_credentials_in_the_url_never_show(confluent):
    confluent.user = b"me:s3cret"
    registry = SchemaRegistry("http://me:s3cret@registry.example", transport=httpx.MockTransport(confluent))
    assert registry.register(SUBJECT, SCHEMA).id == 1
    confluent.fail = [httpx.ConnectError("refused")] * 9
    with pytest.raises(SchemaUnavailableError) as caught:
        registry.latest(SUBJECT)
    assert "s3cret" not in f"{caught.value!r} {caught.value} {registry!r}"


def test_a_refusal_is_final(registry, confluent):
    confluent.refuse = "READER_FIELD_MISSING_DEFAULT_VALUE"
    with pytest.raises(SchemaRefusedError, match="READER_FIELD_MISSING"):
        registry.register(SUBJECT, SCHEMA)
    assert registry.incompatibilities(SUBJECT, SCHEMA) == ["READER_FIELD_MISSING_DEFAULT_VALUE"]
    confluent.refuse = None
    assert registry.incompatibilities(SUBJECT, SCHEMA) == []
    with pytest.raises(SchemaRefusedError, match="Invalid Avro"):
        registry.register(SUBJECT, "nonsense")


def test_references_are_written_into_the_schema(registry, confluent):
    part = {
        "type": "enum",
        "name": "RequestAction",
        "namespace": "peaktime.v1",
        "symbols": ["UNKNOWN", "SCALE_OUT"],
        "default": "UNKNOWN",
    }
    whole = json.loads(SCHEMA)
    whole["fields"][1]["type"] = "peaktime.v1.RequestAction"
    confluent.subjects["actions"] = [{"subject": "actions", "version": 1, "id": 1, "schema": json.dumps(part)}]
    confluent.ids[2] = {
        "schema": json.dumps(whole),
        "references": [{"name": "peaktime.v1.RequestAction", "subject": "actions", "version": 1}],
    }
    assert json.loads(registry.schema_by_id(2))["fields"][1]["type"] == part


def test_one_schema_under_two_subjects(registry):
    schema = schema_json(Delivery.__name__)
    assert registry.id_of("a", schema) == registry.id_of("b", schema)
    assert registry.latest("a").schema == schema
    assert registry.latest("c") is None
