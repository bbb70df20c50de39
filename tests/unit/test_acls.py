"""What `topics ensure --acls` decides, from the catalogue and from what a broker has."""

import pytest

from peaktime import cli
from peaktime.errors import SettingsError
from producers.acls import (
    DESCRIBE,
    GROUP,
    PREFIXED,
    READ,
    TOPIC,
    WRITE,
    Acl,
    Right,
    decide,
    default_principal,
    principals,
    rights,
    wanted,
)
from schemas.catalogue import load_catalogue

CATALOGUE = load_catalogue()
RIGHTS = rights(CATALOGUE, "peaktime-")
EVERYBODY = principals(CATALOGUE, [])
WANTED = wanted(RIGHTS, EVERYBODY)


def acl(principal, kind, name, operation, **more):
    return Acl(principal=principal, kind=kind, name=name, operation=operation, **more)


def test_they_are_the_catalogues_and_no_more():
    assert {(r.role, r.name) for r in RIGHTS if r.operation == WRITE} == {
        (role, spec.name) for spec in CATALOGUE for role in spec.writers
    }
    assert {(r.role, r.name) for r in RIGHTS if r.operation == READ and r.kind == TOPIC} == {
        (role, spec.name) for spec in CATALOGUE for role in spec.readers
    }
    assert {r for r in RIGHTS if r.role == "pa"} == {Right("pa", TOPIC, "peaktime.requests.v1", WRITE)}
    assert {r for r in RIGHTS if r.kind == GROUP and r.role in ("worker", "auditor")} == {
        Right("worker", GROUP, "peaktime-fold", READ),
        Right("worker", GROUP, "peaktime-announce", READ),
        *(Right("auditor", GROUP, f"peaktime-{name}", DESCRIBE) for name in ("fold", "announce", "slack-sink")),
    }
    assert len(RIGHTS) == len(set(RIGHTS))


def test_every_topic_is_written_and_read_by_somebody_who_needs_it():
    # Each of these would stop that role's work.
    assert "importer" in CATALOGUE.calendar_states.readers
    assert "worker" in CATALOGUE.dead_letters.readers
    assert {"sink"} == set(CATALOGUE.deliveries.writers)


def test_principals_can_be_said_more_than_once_for_a_role():
    who = principals(CATALOGUE, ["auditor=User:kim", "auditor=User:lee", "pa=User:CN=pa,O=shop"])
    assert who["auditor"] == ("User:kim", "User:lee")
    assert who["pa"] == ("User:CN=pa,O=shop",)
    assert who["sink"] == (default_principal("sink"),) == ("User:peaktime-sink",)
    assert {a.principal for a in wanted(RIGHTS, who) if a.name == "peaktime.entries.v1" and a.operation == READ} == {
        "User:peaktime-worker",
        "User:peaktime-operator",
        "User:kim",
        "User:lee",
    }


def test_one_principal_for_all_roles_gets_each_right_once():
    acls = wanted(RIGHTS, dict.fromkeys(CATALOGUE.roles, ("User:one",)))
    assert len(acls) == len(set(acls))
    assert {a.principal for a in acls} == {"User:one"}


@pytest.mark.parametrize("text", ["boss=User:kim", "pa", "pa=", "pa=kim", "pa=User:", "pa=:kim", "pa=User:*"])
def test_a_principal_that_is_none_is_refused(text):
    with pytest.raises(SettingsError) as caught:
        principals(CATALOGUE, [text])
    assert caught.value.thing == "--principal"
    assert caught.value.remedy


def test_only_what_is_missing_is_created():
    assert decide(WANTED, []).create == tuple(WANTED)
    plan = decide(WANTED, WANTED[3:])
    assert plan.create == tuple(WANTED[:3])
    assert plan.same == tuple(WANTED[3:])
    assert plan.unknown == ()


@pytest.mark.parametrize(
    ("found", "touches"),
    [
        (acl("User:x", TOPIC, "peaktime.requests.v1", READ), True),
        (acl("User:x", TOPIC, "*", "ALL"), True),
        (acl("User:x", TOPIC, "peak", "READ", pattern=PREFIXED), True),
        (acl("User:x", GROUP, "peaktime-", READ, pattern=PREFIXED), True),
        (acl("User:peaktime-pa", TOPIC, "peaktime.requests.v1", WRITE, permission="DENY"), True),
        (acl("User:peaktime-pa", TOPIC, "peaktime.requests.v1", WRITE, host="10.0.0.1"), True),
        (acl("User:peaktime-pa", TOPIC, "peaktime.outcomes.v1", WRITE), True),
        (acl("User:x", TOPIC, "peaktime.requests.v1.more", READ), False),
        (acl("User:x", TOPIC, "peaktime", READ), False),
        (acl("User:x", TOPIC, "peaktime-fold", READ), False),
        (acl("User:x", GROUP, "others-", READ, pattern=PREFIXED), False),
    ],
)
def test_what_it_would_not_set_is_reported_where_it_touches_ours(found, touches):
    plan = decide(WANTED, [*WANTED, found])
    assert plan.unknown == ((found,) if touches else ())
    assert plan.create == ()


def test_it_reads_well():
    denied = acl("User:x", TOPIC, "peak", WRITE, pattern=PREFIXED, permission="DENY", host="10.0.0.1")
    assert str(denied) == "User:x DENY WRITE on topic peak* from 10.0.0.1"


def test_the_table_can_be_printed(monkeypatch, capsys):
    monkeypatch.setenv("PEAKTIME_GROUP_PREFIX", "g-")
    assert cli.run(["topics", "acls", "--principal", "sink=User:bot"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("User:bot" in line and "g-slack-sink" in line and "READ" in line for line in lines)
    assert not any("User:peaktime-sink" in line for line in lines)
    assert cli.run(["topics", "acls", "--principal", "boss=User:bot"]) == 1
    assert "no role" in capsys.readouterr().err
