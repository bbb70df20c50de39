import asyncio
import json
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
from confluent_kafka import KafkaError

from peaktime.errors import BrokerError, PublishError, SchemaUnavailableError
from peaktime.metrics import Metrics
from peaktime.profiles import load_profiles
from producers.pa.gateway import LARGEST_BODY, create_gateway
from producers.pa.mapping import known_endpoints
from producers.publish import Position
from schemas.catalogue import load_catalogue
from schemas.records import RequestAction, ScaleRequest

NOW = datetime(2026, 5, 1, 3, 4, tzinfo=UTC)
PROFILES = load_profiles(None)
SALE = {"message": {"title": "Sale", "eventDate": "2026-05-04T09:00"}}


class FakePublisher:
    """A log in memory behind a client that behaves as librdkafka documents it.

    A record is either acknowledged, or reported as timed out after message.timeout.ms; of one that timed out nobody
    knows whether it was persisted: before it was sent it is not there, after that it may be.
    """

    def __init__(self) -> None:
        self.catalogue = load_catalogue()
        self.log: list[ScaleRequest] = []
        self.keys: list[str] = []
        self.broker = "up"
        self.arrived = threading.Semaphore(0)
        self.acknowledges = threading.Event()
        self.acknowledges.set()

    def publish(self, spec, key, record):
        assert spec is self.catalogue.requests
        if self.broker == "registry away":
            raise SchemaUnavailableError("schema registry", "cannot be reached")
        if self.broker in ("up", "dies after the write"):
            self.log.append(record)
            self.keys.append(key)
            self.arrived.release()
        if self.broker == "up":
            assert self.acknowledges.wait(10)
            return Position(spec.name, 3, len(self.log) - 1)
        reason = KafkaError(KafkaError._MSG_TIMED_OUT).str()
        raise PublishError(f"topic {spec.name} at somewhere", reason, "Check that Kafka is up")


class Ready:
    def __init__(self) -> None:
        self.reason = ""

    def __call__(self) -> None:
        if self.reason:
            raise BrokerError("Kafka at somewhere", self.reason, "Start it")


@pytest.fixture
def publisher():
    return FakePublisher()


@pytest.fixture
def ready():
    return Ready()


@pytest.fixture
def app(publisher, ready):
    return create_gateway(publisher, PROFILES, lambda: NOW, ready=ready, metrics=Metrics(), in_flight=4)


@pytest.fixture
async def gateway(app):
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://gateway") as c:
        yield c


async def test_pas_three_bodies_become_three_requests(gateway, publisher):
    out = await gateway.post("/create-infra-mon-night", json=SALE)
    back = await gateway.post("/delete-infra-mon-night", json={"message": {"title": "Sale", "eventDate": 202605050200}})
    gone = await gateway.post("/event-delete-infra", json={"message": {"eventDate": "2026-05-04T00:00:00Z"}})

    assert [answer.status_code for answer in (out, back, gone)] == [200, 200, 200]
    assert out.json() == {
        "requestId": publisher.log[0].request_id,
        "target": "infra",
        "eventDate": "2026-05-04T09:00",
        "position": {"topic": "peaktime.requests.v1", "partition": 3, "offset": 0},
    }
    assert [(r.action, r.day, r.band, r.event_date, r.origin) for r in publisher.log] == [
        (RequestAction.SCALE_OUT, "mon", "night", "2026-05-04T09:00", "pa"),
        (RequestAction.SCALE_IN, "mon", "night", "2026-05-05T02:00", "pa"),
        (RequestAction.DELETE, "common", "common", "2026-05-04T09:00", "pa"),
    ]
    assert publisher.keys == ["infra"] * 3
    assert publisher.log[0].requested_at == NOW


async def test_a_body_needs_no_content_type_and_may_have_a_byte_order_mark(gateway, publisher):
    title = "어린이날 세일"
    content = (
        b"\xef\xbb\xbf" + json.dumps({"message": {"title": title, "eventDate": 20260504}}, ensure_ascii=False).encode()
    )
    assert (await gateway.post("/create-infra-common-common", content=content)).status_code == 200
    assert publisher.log[0].title == title


async def test_a_slash_at_the_end_is_no_redirect(gateway, publisher):
    assert (await gateway.post("/create-infra-mon-night/", json=SALE)).status_code == 200
    assert [(r.target, r.day, r.band) for r in publisher.log] == [("infra", "mon", "night")]


async def test_success_waits_for_the_acknowledgement(gateway, publisher):
    publisher.acknowledges.clear()
    asking = asyncio.create_task(gateway.post("/create-infra-common-common", json=SALE))
    await asyncio.to_thread(publisher.arrived.acquire, timeout=5)
    assert (await gateway.get("/healthz")).status_code == 200  # others are answered meanwhile
    assert not asking.done()
    publisher.acknowledges.set()
    assert (await asking).status_code == 200


@pytest.mark.parametrize("broker", ["away", "dies after the write", "registry away"])
async def test_without_an_acknowledgement_the_answer_is_503_and_the_retry_has_the_same_id(gateway, publisher, broker):
    publisher.broker = broker
    answer = await gateway.post("/create-infra-common-common", json=SALE)

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    request_id = answer.json()["requestId"]
    assert "not known to be on the log" in answer.json()["reasons"][0]
    publisher.broker = "up"
    again = await gateway.post("/create-infra-common-common", json=SALE, headers={"Idempotency-Key": request_id})
    assert again.status_code == 200
    assert again.json()["requestId"] == request_id
    assert {record.request_id for record in publisher.log} == {request_id}


async def test_one_more_than_may_wait_for_kafka_is_answered_at_once(gateway, publisher):
    publisher.acknowledges.clear()
    asking = [asyncio.create_task(gateway.post("/create-infra-common-common", json=SALE)) for _ in range(4)]
    for _ in range(4):
        assert await asyncio.to_thread(publisher.arrived.acquire, timeout=5)
    answer = await gateway.post("/create-infra-common-common", json=SALE)
    assert answer.status_code == 503
    assert answer.json()["requestId"]
    assert (await gateway.get("/readyz")).status_code == 200
    publisher.acknowledges.set()
    assert [(await task).status_code for task in asking] == [200] * 4
    assert (await gateway.post("/create-infra-common-common", json=SALE)).status_code == 200


async def test_the_id_is_the_headers_else_the_bodys_else_a_fresh_one(gateway, publisher):
    body = {"message": {**SALE["message"], "requestId": "from-body"}}
    for headers in ({"Idempotency-Key": "from-header"}, {"Idempotency-Key": '"quoted"'}, {}):
        await gateway.post("/create-infra-common-common", json=body, headers=headers)
    for _ in range(2):
        await gateway.post("/create-infra-common-common", json=SALE)

    ids = [record.request_id for record in publisher.log]
    assert ids[:3] == ["from-header", "quoted", "from-body"]
    assert len(set(ids)) == 5


@pytest.mark.parametrize("key", ["", '""', "x" * 201, b"caf\xe9", b"a\tb"])
async def test_an_idempotency_key_that_is_none_is_refused(gateway, publisher, key):
    answer = await gateway.post("/create-infra-common-common", json=SALE, headers={"Idempotency-Key": key})
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["reasons"][0]
    assert publisher.log == []


async def test_two_different_idempotency_keys_are_refused(gateway):
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert (await gateway.post("/create-infra-common-common", json=SALE, headers=headers)).status_code == 400


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not JSON"),
        (b"title=Sale&eventDate=2026-05-04", "is not JSON"),
        (b"{'message': 1}", "is not JSON"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"[" * 60_000, "nobody needs"),
        (b"9" * 5_000, "nobody needs"),
        (b"null", 'has no "message"'),
        (b"{}", 'has no "message"'),
        (b'{"message": {"title": "\\ud83d", "eventDate": "2026-05-04"}}', "half a character"),
        (b'{"message": {"eventDate": "2026-05-04"}}', "title is missing"),
        (b'{"message": {"title": "Sale", "eventDate": "\\ud83d"}}', "is not a date"),
        (b'{"message": {"title": "Sale", "eventDate": NaN}}', "is not a date"),
    ],
)
async def test_what_cannot_be_understood_is_400_with_reasons(gateway, publisher, content, reason):
    answer = await gateway.post("/create-infra-common-common", content=content)
    assert answer.status_code == 400
    assert reason in " ".join(answer.json()["reasons"])
    assert publisher.log == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/create-web-mon-night", "there is no target web; known are infra"),
        ("/create-infra-mon-noon", "infra has no band noon on mon; known are common, dawn"),
        ("/event-delete-web", "there is no target web; known are infra"),
        ("/create-infra", "does not end in a target"),
        ("/update-infra-mon-night", "none of PA's endpoints"),
    ],
)
async def test_an_unknown_endpoint_is_404_and_names_the_known(gateway, publisher, path, reason):
    answer = await gateway.post(path, json=SALE)
    assert answer.status_code == 404
    assert reason in answer.json()["reasons"][0]
    assert answer.json()["known"] == known_endpoints(PROFILES)
    assert publisher.log == []


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"title": "Sale {{x}}"}, "template"),
        ({"title": "Sale\x00"}, "control"),
        ({"title": "x" * 301}, "too-long"),
        ({"endsAt": "2026-05-04T08:00"}, "end-before-start"),
        ({"eventDate": "2028-05-04"}, "too-far"),
    ],
)
async def test_what_the_fold_would_reject_anyway_is_422(gateway, publisher, message, code):
    answer = await gateway.post("/create-infra-common-common", json={"message": {**SALE["message"], **message}})
    assert answer.status_code == 422
    assert answer.json()["code"] == code
    assert answer.json()["reasons"][0]
    assert publisher.log == []


async def test_an_end_in_the_past_may_end_an_open_window_so_the_fold_decides(gateway, publisher):
    message = {"title": "Sale", "eventDate": "2026-05-01T09:00", "endsAt": "2026-05-01T11:00"}
    assert (await gateway.post("/create-infra-common-common", json={"message": message})).status_code == 200
    assert publisher.log[0].ends_at < NOW


async def test_a_body_of_64_kib_is_taken_and_a_larger_one_is_413(gateway, publisher):
    def padded(size: int) -> bytes:
        return json.dumps(SALE).encode().ljust(size)

    assert (await gateway.post("/create-infra-common-common", content=padded(LARGEST_BODY))).status_code == 200
    answer = await gateway.post("/create-infra-common-common", content=padded(LARGEST_BODY + 1))
    assert answer.status_code == 413
    assert "64 KiB" in answer.json()["reasons"][0]
    assert len(publisher.log) == 1


async def test_a_body_that_hides_its_size_is_413_as_well(gateway, publisher):
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 4096

    assert (await gateway.post("/create-infra-common-common", content=endless())).status_code == 413
    assert publisher.log == []


async def test_a_body_that_never_ends_is_408(publisher, ready):
    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    app = create_gateway(publisher, PROFILES, lambda: NOW, ready=ready, metrics=Metrics(), body_seconds=0.01)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        answer = await client.post("/create-infra-common-common", content=stuck())
    assert answer.status_code == 408
    assert answer.json()["reasons"] == ["the body did not arrive within 0.01 s"]


async def test_other_methods_and_paths_are_told_in_json(gateway):
    wrong_method = await gateway.get("/create-infra-common-common")
    assert wrong_method.status_code == 405
    assert wrong_method.headers["allow"] == "POST"
    assert "POST" in wrong_method.json()["reasons"][0]
    assert (await gateway.post("/a/b", json=SALE)).status_code == 404


async def test_it_is_ready_while_kafka_can_be_reached(gateway, ready):
    assert (await gateway.get("/healthz")).json() == {"status": "ok"}
    assert (await gateway.get("/readyz")).json() == {"status": "ready"}
    ready.reason = "no broker answered"
    answer = await gateway.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["Kafka at somewhere: no broker answered. Start it"]
    assert (await gateway.get("/healthz")).status_code == 200


async def test_the_front_page_lists_the_endpoints(gateway):
    page = (await gateway.get("/")).text
    for name in known_endpoints(PROFILES):
        assert f"POST /{name}\n" in page


async def test_answers_are_counted(gateway, publisher):
    await gateway.post("/create-infra-common-common", json=SALE)
    await gateway.post("/create-infra-common-common", json={})
    publisher.broker = "away"
    await gateway.post("/create-infra-common-common", json=SALE)
    page = (await gateway.get("/metrics")).text
    for status in ("200", "400", "503"):
        assert f'peaktime_gateway_answers_total{{status="{status}"}} 1.0' in page
    assert "peaktime_gateway_seconds_count 3.0" in page
