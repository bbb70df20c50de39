import io
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from peaktime.cli import request as cli
from peaktime.cli import run, sending
from peaktime.errors import PublishError
from peaktime.profiles import load_profiles
from producers.pa.folder import read_folder
from producers.pa.mapping import request_from_pa
from producers.publish import Position
from schemas.catalogue import load_catalogue
from schemas.records import RequestAction

EXAMPLES = Path(__file__).parents[2] / "examples" / "pa"
SOON = (datetime.now(UTC) + timedelta(days=5)).strftime("%Y-%m-%dT09:00")
ASK = ["--target", "infra", "--event-date", SOON, "--title", "Sale", "--owner", "me"]


class FakePublisher:
    def __init__(self) -> None:
        self.catalogue = load_catalogue()
        self.log = []
        self.away = False
        self.open = False

    def __enter__(self):
        self.open = True
        return self

    def __exit__(self, *_):
        self.open = False

    def publish(self, spec, key, record):
        assert self.open
        assert (spec.short, key) == ("requests", record.target)
        if self.away:
            raise PublishError("topic x at somewhere", "Local: Message timed out", "Send it again under the same id")
        self.log.append(record)
        return Position(spec.name, 2, 17)


@pytest.fixture(autouse=True)
def publisher(monkeypatch):
    fake = FakePublisher()
    monkeypatch.setattr(sending, "open_publisher", lambda _settings, _source: fake)
    return fake


def test_a_scale_out_is_published_and_its_position_told(publisher, capsys):
    assert run(["request", "scale-out", *ASK, "--day", "mon", "--band", "night", "--request-id", "r-1"]) == 0
    (record,) = publisher.log
    assert (record.action, record.day, record.band, record.origin) == (
        RequestAction.SCALE_OUT,
        "mon",
        "night",
        "operator",
    )
    assert (record.event_date, record.title, record.owner, record.request_id) == (SOON, "Sale", "me", "r-1")
    expected = f"request r-1 (create-infra-mon-night, {SOON}) is on the log at peaktime.requests.v1/2/17\n"
    assert capsys.readouterr().out == expected


def test_a_scale_in_with_everything(publisher, capsys):
    more = ["--starts-at", SOON, "--ends-at", SOON.replace("09:00", "11:00"), "--description", "x", "--origin", "pa"]
    assert run(["request", "scale-in", *ASK, *more, "--revision", "4", "--json"]) == 0
    (record,) = publisher.log
    assert record.action is RequestAction.SCALE_IN
    assert record.ends_at - record.starts_at == timedelta(hours=2)
    assert (record.description, record.origin, record.revision) == ("x", "pa", 4)
    assert json.loads(capsys.readouterr().out) == {
        "requestId": record.request_id,
        "target": "infra",
        "eventDate": SOON,
        "position": {"topic": "peaktime.requests.v1", "partition": 2, "offset": 17},
    }


def test_a_deletion_needs_target_and_event_date_only(publisher):
    assert run(["request", "delete", "--target", "infra", "--event-date", "20260504"]) == 0
    (record,) = publisher.log
    assert (record.action, record.event_date, record.origin) == (RequestAction.DELETE, "2026-05-04", "operator")


def test_one_of_pas_bodies(publisher, tmp_path, monkeypatch):
    body = json.dumps({"message": {"title": "세일", "eventDate": SOON}}, ensure_ascii=False)
    (tmp_path / "body.json").write_text(body, encoding="utf-8")
    assert run(["request", "--from-pa", str(tmp_path / "body.json"), "--endpoint", "delete-infra-mon-night"]) == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(body.encode())))
    assert run(["request", "--from-pa", "-", "--endpoint", "/event-delete-infra", "--request-id", "r-2"]) == 0

    first, second = publisher.log
    assert (first.action, first.title, first.origin, first.band) == (RequestAction.SCALE_IN, "세일", "pa", "night")
    assert (second.action, second.request_id) == (RequestAction.DELETE, "r-2")


def test_a_dry_run_prints_the_record_and_publishes_nothing(publisher, capsys):
    assert run(["request", "scale-out", *ASK, "--dry-run", "--title", "Sale {{x}}"]) == 0
    told = capsys.readouterr()
    record = json.loads(told.out)
    assert (record["eventDate"], record["action"], record["endsAt"]) == (SOON, "SCALE_OUT", None)
    assert record["startsAt"] == SOON.replace("T09:00", "T00:00:00Z")
    assert "would be refused: the title contains" in told.err
    assert publisher.log == []


def test_what_the_fold_would_reject_is_refused_unless_forced(publisher, capsys):
    ask = ["request", "scale-out", *ASK, "--band", "noon", "--title", "Sale {{x}}"]
    assert run(ask) == 1
    told = capsys.readouterr().err
    assert told.startswith("peaktime: create-infra-common-noon: infra has no band noon on common")
    assert "the title contains" in told
    assert "--force" in told
    assert publisher.log == []
    assert run([*ask, "--force"]) == 0
    assert publisher.log[0].band == "noon"


def test_a_pause_of_a_target_that_no_profile_knows_is_refused_unless_forced(publisher, capsys):
    pause = ["pause", "nosuch", "--owner", "jun", "--why", "database is down"]
    assert run(pause) == 1
    assert publisher.log == []
    assert "there is no target nosuch; known are infra" in capsys.readouterr().err
    assert run([*pause, "--force"]) == 0
    assert run(["resume", *pause[1:]]) == 0, "what was paused must be resumed, known or not"
    assert [record.action for record in publisher.log] == [RequestAction.PAUSE, RequestAction.RESUME]


def test_all_that_is_wrong_is_told_in_one_line(capsys):
    assert run(["request", "scale-out", *ASK, "--event-date", "soon", "--ends-at", "later"]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "eventDate 'soon' is not a date" in told
    assert "endsAt 'later' is not a date" in told


def test_without_an_acknowledgement_the_id_for_the_next_try_is_told(publisher, capsys):
    publisher.away = True
    assert run(["request", "scale-out", *ASK]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "Message timed out. Send it again under the same id: --request-id " in told.err
    assert not publisher.open


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--from-pa", "x.json"],
        ["--endpoint", "create-infra-mon-night"],
        ["scale-out"],
        ["scale-up", *ASK],
        ["--dry-run", "scale-out", *ASK],
        ["--from-pa", "x.json", "scale-out", *ASK],
        ["scale-out", *ASK, "--revision", "-1"],
    ],
)
def test_wrong_usage_ends_with_2_and_publishes_nothing(publisher, arguments, capsys):
    assert run(["request", *arguments]) == 2
    assert "Usage:" in capsys.readouterr().err
    assert publisher.log == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot be read: No such file"), (b"{", "is not JSON"), (b"\xff", "is not JSON")],
)
def test_a_body_that_cannot_be_read_is_told(tmp_path, content, reason, capsys):
    path = tmp_path / "body.json"
    if content is not None:
        path.write_bytes(content)
    assert run(["request", "--from-pa", str(path), "--endpoint", "create-infra-mon-night"]) == 1
    assert f"{path}: {reason}" in capsys.readouterr().err


def test_the_examples_are_what_their_page_says():
    now = datetime(2026, 5, 1, 3, tzinfo=UTC)
    profiles = load_profiles(None)
    items = read_folder(EXAMPLES, date(2026, 5, 1), profiles=profiles)
    assert not any(item.error or item.note for item in items)
    wanted = [request_from_pa(item.body, item.endpoint, profiles=profiles, now=now) for item in items]

    refused = [(item.file, cli.refusal(each, now)) for item, each in zip(items, wanted, strict=True)]
    assert [(file, why[0]) for file, why in refused if why] == [
        ("10-create-infra-common-common-refused.json", "template"),
    ]
    out, back, retry, today_out, today_back, overlap, changed, short, deleted, _ = wanted
    assert items[0].body == items[2].body
    assert out.request_id != retry.request_id
    assert (back.action, back.event_date) == (RequestAction.SCALE_IN, out.event_date)
    assert today_out.event_date != today_back.event_date
    assert today_out.ends_at is today_back.starts_at is None
    assert out.starts_at < overlap.starts_at < overlap.ends_at < back.ends_at
    assert level(profiles, overlap) > level(profiles, out)
    assert (changed.event_date, changed.band) == (overlap.event_date, overlap.band)
    assert changed.starts_at != overlap.starts_at
    assert not overlap.title.isascii()
    assert (deleted.action, deleted.event_date) == (RequestAction.DELETE, short.event_date)


def level(profiles, record):
    return profiles.find(record.target, record.day, record.band).scale_out.level
