"""Which event somebody means, and what is said if that is not clear."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.asking import delete, scale_out
from support.memory_log import CATALOGUE, CODEC, MemoryLog, PretendWorker
from support.simulator import GRACE, World

from peaktime.errors import DecodeError, PeaktimeError
from processors.replay.log import partition_of
from processors.replay.lookup import Sought, known_runs, meant, only_one, run_on_log, sought
from processors.replay.outlook import outlook
from processors.replay.standing import Standing, pause_of, read_standing
from schemas.records import Entry, RequestAction

KEYS = ["app/pa/2026-05-04", "infra/operator/2026-05-04", "infra/pa/2026-05-04", "infra/pa/2026-05-04T09:00"]


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2026-05-04", "2026-05-04"),
        ("20260504", "2026-05-04"),
        (" 2026-05-04 ", "2026-05-04"),
        ("202605040900", "2026-05-04T09:00"),
        ("2026-05-04 09:00", "2026-05-04T09:00"),
        ("2026-05-04T09:00:00", "2026-05-04T09:00"),
    ],
)
def test_every_form_of_an_event_date(text, date):
    assert sought(text).date == date


def test_a_date_with_an_offset_is_what_the_zone_makes_of_it():
    assert sought("2026-05-04T00:00Z", "2026-05-04T09:00").date == "2026-05-04T09:00"


def test_a_key_in_any_form_of_its_date():
    assert sought("infra/pa/20260504").key == "infra/pa/2026-05-04"
    assert sought("infra/operator/pause").key == "infra/operator/pause"


def test_anything_else_is_a_name():
    assert sought("peaktime-create-x-1777").run == "peaktime-create-x-1777"
    assert sought("run/peaktime-create-x-1777").run == "peaktime-create-x-1777"
    assert sought("2026-13-45").run == "2026-13-45"


def test_what_is_meant_by_a_date_within_limits():
    what = sought("20260504")
    assert meant(what, KEYS) == KEYS[:3]
    assert meant(what, KEYS, target="infra") == KEYS[1:3]
    assert meant(what, KEYS, origin="pa") == [KEYS[0], KEYS[2]]
    assert meant(what, KEYS, target="infra", origin="operator") == [KEYS[1]]
    assert meant(sought("infra/pa/2026-05-04"), KEYS) == [KEYS[2]]


def test_several_are_named_in_one_line():
    with pytest.raises(PeaktimeError) as error:
        only_one(sought("20260504"), KEYS[:3], {KEYS[2]: "봄\n행사"})
    assert str(error.value) == (
        "event 20260504: 3 are meant: app/pa/2026-05-04, infra/operator/2026-05-04, infra/pa/2026-05-04 '봄 행사'. "
        "Name one by its key, or add --target or --origin"
    )
    with pytest.raises(PeaktimeError, match=r"/4, t/o/5 and 3 more\. Name"):
        only_one(Sought("x", date="d"), [f"t/o/{n}" for n in range(1, 9)], {})


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("2026-05-05", "infra/pa/2026-05-04"),
        ("infra/pa/2026-05-40", "infra/pa/2026-05-04"),
        ("peaktime-create-infra-common-common-2026050", "infra/pa/2026-05-04"),
    ],
)
def test_none_comes_with_what_is_near(text, near):
    titles = dict.fromkeys([*KEYS, "infra/operator/pause"], "Sale")
    runs = {"peaktime-create-infra-common-common-20260504": "infra/pa/2026-05-04"}
    with pytest.raises(PeaktimeError) as error:
        only_one(sought(text), [], titles, runs)
    assert f"{near} 'Sale'" in str(error.value)
    assert "audit requests" in str(error.value)


def test_none_without_anything_near_is_said_too():
    with pytest.raises(PeaktimeError, match=r"^event 2026-05-04: there is no such event\. `peaktime schedule`"):
        only_one(sought("2026-05-04"), [], {})
    with pytest.raises(PeaktimeError, match="it is no event date, and there is no run or CronWorkflow of this name"):
        only_one(sought("{{x}}"), [], {}, {})


def test_runs_are_known_from_facts_and_from_what_is_to_come():
    world = World()
    world.ask(scale_out("a", 60, 120))
    world.ask(scale_out("b", 90, 100, date="2026-05-05", band="morning"))
    world.until(70)
    standing = Standing()
    standing.entries.rows["infra"], standing.facts.rows["infra"] = world.log.entries, world.facts
    whole = outlook("infra", world.log.entries, world.facts, world.profiles, world.look_again, grace=GRACE)
    known = known_runs(standing, [whole])
    assert known["peaktime-create-infra-common-common-20260504"] == {"infra/pa/2026-05-04"}
    assert known[world.began[0].workflow] == {"infra/pa/2026-05-04"}
    assert known["peaktime-create-infra-common-morning-20260505"] == {"infra/pa/2026-05-05"}


# -- how things stand --


@pytest.fixture
def log():
    """Two targets, a tombstone, and a row that a worker that was cut off wrote late."""
    log = MemoryLog()
    worker = PretendWorker(log)
    world = World()
    for request in (scale_out("a", 60, 120), scale_out("b", 60, 120, target="app")):
        log.send(request)
    world.ask(scale_out("a", 60, 120))
    world.until(200)
    for outcome in world.outcomes:
        log.send(outcome, spec=CATALOGUE.outcomes)
    worker.fold()
    log.world = world
    return log


def row(log, key):
    found = log.find(CATALOGUE.entries.name, lambda raw: raw.key == key)
    return found[-1]


def test_the_tables_are_read_to_their_ends(log):
    standing = read_standing(log, CODEC, CATALOGUE)
    assert standing.targets() == ["app", "infra"]
    assert [entry.key for entry in standing.each_entry()] == ["app/pa/2026-05-04", "infra/pa/2026-05-04"]
    run = log.world.began[0].workflow
    assert standing.facts.of("infra").by_subject[f"run/{run}"].state == "SUCCEEDED"
    assert standing.facts.of("infra").last_begun is not None
    assert standing.entries.get(0, "none").by_key == {}


def test_one_target_is_read_from_its_partition_alone(log):
    standing = read_standing(log, CODEC, CATALOGUE, "app")
    assert (standing.targets(), standing.facts.rows) == (["app"], {})
    other = (partition_of(b"app", 4) + 1) % 4
    log.put(CATALOGUE.entries.name, b"infra/pa/x", b"\x7fnonsense", partition=other)
    assert read_standing(log, CODEC, CATALOGUE, "app").targets() == ["app"]


def test_a_tombstone_and_a_row_that_came_late_count_as_a_starting_worker_takes_them(log):
    name, key = CATALOGUE.entries.name, b"infra/pa/2026-05-04"
    partition = partition_of(b"infra", 4)
    newer = replace(CODEC.decode(Entry, row(log, key).value), position=50)
    log.put(name, key, CODEC.encode(newer, name), partition=partition)
    log.put(name, key, row(log, key).value, partition=partition)
    log.put(name, key, CODEC.encode(replace(newer, position=7), name), partition=partition)
    assert read_standing(log, CODEC, CATALOGUE).entries.of("infra").position == 50
    log.put(name, key, None, partition=partition)
    assert read_standing(log, CODEC, CATALOGUE).targets() == ["app"]


def test_a_row_that_cannot_be_read_is_named_with_its_place(log):
    name = CATALOGUE.entries.name
    raw = log.put(name, b"infra/pa/x", b"\x7fnonsense", partition=0)
    with pytest.raises(DecodeError) as error:
        read_standing(log, CODEC, CATALOGUE)
    assert str(error.value).startswith(f"{name}/0/{raw.offset}: a row of the table cannot be read: ")


def test_who_paused_a_target():
    world = World()
    world.ask(scale_out("a", 60, 120))
    assert pause_of(world.log.entries) is None
    why = {"date": "pause", "origin": "operator", "owner": "lee", "title": "", "description": "broken"}
    world.ask(replace(delete("p", **why), action=RequestAction.PAUSE))
    assert (pause_of(world.log.entries).owner, pause_of(world.log.entries).why) == ("lee", "broken")
    world.ask(replace(delete("r", **why), action=RequestAction.RESUME))
    assert pause_of(world.log.entries) is None


def test_a_run_that_is_long_forgotten_is_found_on_the_log(log):
    run = log.world.began[0].workflow
    log.put(CATALOGUE.outcomes.name, b"infra", run.encode() + b"\x7fnonsense", partition=0)
    topic = CATALOGUE.outcomes.name
    assert run_on_log(run, log, CODEC, topic) == {"infra/pa/2026-05-04"}
    assert run_on_log(run.rpartition("-")[0], log, CODEC, topic) == {"infra/pa/2026-05-04"}
    assert run_on_log("peaktime-create-infra", log, CODEC, topic) == set()
