"""What is to come, and where an event stands, in the words that people read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from support.asking import START, Log, at, delete, profiles, scale_in, scale_out
from support.simulator import GRACE, World

from peaktime.cli.explain import now_lines
from peaktime.core.outcomes import Facts
from processors.replay.outlook import event_outlook, outlook
from schemas.records import RequestAction

ZONE = "Asia/Seoul"
AGAIN, CLOSES = "a stronger window closed and it is in force again", "the last open window closes"


def seen(log, minute, facts=None, known=None):
    return outlook("infra", log.entries, facts or Facts(), known or profiles(), at(minute), grace=GRACE)


def told(log, key, minute, facts=None):
    whole = seen(log, minute, facts)
    ahead = event_outlook(whole, key, ZONE, grace=GRACE)
    return now_lines(whole, whole.entries.by_key.get(key), ahead, ZONE)


def of_world(world):
    return seen(world.log, world.minute, world.facts)


def lived(log, minute):
    """A world in which everything of a log ran as it should, until a minute."""
    world = World(log=log)
    world.look()
    world.until(minute)
    return world


def nested():
    """A window of level 1 from minute 60 to 240, and one of level 2 in it from 120 to 180."""
    log = Log()
    log.append(scale_out("a", 60, 240, title="Wide"))
    log.append(scale_in("a-in", 240, title="Wide"))
    log.append(scale_out("b", 120, 180, date="2026-05-05", band="morning", title="Strong"))
    log.append(scale_in("b-in", 180, date="2026-05-05", band="morning", title="Strong"))
    return log


WIDE, STRONG = "infra/pa/2026-05-04", "infra/pa/2026-05-05"


def test_the_firings_of_nested_windows_with_their_levels_and_reasons():
    rows = seen(nested(), 0).firings
    assert [(row.at, row.action, row.level, row.entry) for row in rows] == [
        (at(60), RequestAction.SCALE_OUT, 1, WIDE),
        (at(120), RequestAction.SCALE_OUT, 2, STRONG),
        (at(180), RequestAction.SCALE_OUT, 1, WIDE),
        (at(240), RequestAction.SCALE_IN, 1, WIDE),
    ]
    assert {row.state for row in rows} == {"to come"}
    assert rows[2].why == AGAIN
    assert rows[0].run == f"peaktime-create-infra-common-common-20260504-{int(at(60).timestamp())}"


def test_which_window_is_in_force_when():
    force = seen(nested(), 0).force
    assert [(part.starts_at, part.ends_at, part.entry) for part in force] == [
        (at(60), at(120), WIDE),
        (at(120), at(180), STRONG),
        (at(180), at(240), WIDE),
    ]


def test_the_firings_between_two_instants_and_the_level_before_them():
    whole = seen(nested(), 0)
    assert [row.at for row in whole.between(at(120), at(240))] == [at(120), at(180)]
    assert [whole.level_before(at(minute)) for minute in (0, 60, 61, 150, 200)] == [0, 0, 1, 2, 1]


def test_a_firing_says_what_became_of_it():
    world = World(fails=lambda name: "morning" in name)
    for request in (
        scale_out("a", 60, 240),
        scale_in("a-in", 240),
        scale_out("b", 120, 180, date="2026-05-05", band="morning"),
    ):
        world.ask(request)
    assert [row.state for row in of_world(world).firings] == ["scheduled"] * 4
    world.until(60.2)
    assert [row.state for row in of_world(world).firings][:2] == ["started", "scheduled"]
    world.until(130)
    assert [row.state for row in of_world(world).firings] == ["succeeded", "failed", "scheduled", "scheduled"]


def test_a_firing_that_nobody_reported_and_one_that_is_owed():
    world = World(misses=lambda _minute: True)
    world.ask(scale_out("a", 60, 240))
    world.minute = 60.5
    (row,) = of_world(world).firings
    assert row.state == "owed"
    assert "is owed since Mon 2026-05-04 10:00; it is started as peaktime-create-" in "\n".join(
        told(world.log, WIDE, 60.5, world.facts),
    )
    assert [row.state for row in seen(nested(), 600).firings] == ["no report"] * 4


def test_a_profile_that_is_not_configured_is_said():
    log = Log()
    log.append(scale_in("a", 60, band="dawn"))
    whole = seen(log, 0)
    (row,) = whole.firings
    assert (row.level, row.state, row.run) == (None, "unknown profile", "")
    assert whole.want.problems


def test_an_event_before_in_and_after_its_window():
    out, again, back = (row.run for row in seen(nested(), 0).firings if row.entry == WIDE)
    assert told(nested(), WIDE, 0) == [
        "",
        "Now, Mon 2026-05-04 09:00 (Asia/Seoul):",
        "  asked for by mina: scale-out infra-common-common and scale-in infra-common-common",
        "  window Mon 2026-05-04 10:00 to 13:00, level 1: to come",
        f"  firing Mon 2026-05-04 10:00 scale-out infra-common-common to level 1 as {out}, to come: its window opens",
        f"  firing Mon 2026-05-04 12:00 scale-out infra-common-common to level 1 as {again}, to come: {AGAIN}",
        f"  firing Mon 2026-05-04 13:00 scale-in infra-common-common to level 1 as {back}, to come: {CLOSES}",
        "  next: Mon 2026-05-04 10:00, scale-out infra-common-common to level 1",
    ]
    world = lived(nested(), 150)
    inside = told(world.log, WIDE, 150, world.facts)
    assert f"  window Mon 2026-05-04 10:00 to 13:00, level 1: open, not in force: {STRONG} is" in inside
    assert inside[-1] == "  next: Mon 2026-05-04 12:00, scale-out infra-common-common to level 1"
    strong = told(world.log, STRONG, 150, world.facts)
    assert "  window Mon 2026-05-04 11:00 to 12:00, level 2: in force" in strong
    assert strong[-1] == "  next: Mon 2026-05-04 12:00, its window closes, and nothing fires for it"
    over = told(nested(), STRONG, 1000)
    assert "  window Mon 2026-05-04 11:00 to 12:00, level 2: over" in over
    assert over[-1] == "  next: nothing"


def test_a_window_that_opens_under_a_stronger_one():
    log = Log()
    log.append(scale_out("a", 60, 240, band="night"))
    log.append(scale_out("b", 120, 180, date="2026-05-05"))
    assert f"  window Mon 2026-05-04 11:00 to 12:00, level 1: to come, under {WIDE}" in told(log, STRONG, 0)
    assert told(log, STRONG, 0)[-1] == f"  next: Mon 2026-05-04 11:00, its window opens (to come, under {WIDE})"


def test_an_event_that_was_withdrawn_in_its_window():
    log = nested()
    log.append(delete("d", owner="lee"), 90)
    lines = told(log, WIDE, 100)
    assert lines[2] == "  withdrawn since Mon 2026-05-04 10:30 by lee"
    assert "  window Mon 2026-05-04 10:00 to 10:30, level 1: over, cut short" in lines


def test_nobody_said_when_it_ends_or_asked_for_a_scale_in():
    log = Log()
    log.append(scale_out("a", 60, None))
    world = lived(log, 90)
    assert told(log, WIDE, 90, world.facts)[-1] == "  next: nothing until somebody says when it ends"
    lines = told(log, WIDE, 1600, world.facts)
    assert any("  problem: 'Sale' has scaled out and nobody has said when it ends" in line for line in lines)
    log = Log()
    log.append(scale_out("a", 60, 120))
    assert "  nobody has asked for a scale-in: capacity stays as it is after Mon 2026-05-04 11:00" in told(log, WIDE, 0)
    assert seen(log, 0).stays() == [at(120)]
    assert seen(log, 121).stays() == seen(nested(), 0).stays() == []


def test_an_event_of_a_paused_target_waits():
    log = nested()
    why = {"date": "pause", "origin": "operator", "owner": "lee", "title": "", "description": "broken build"}
    log.append(replace(delete("p", **why), action=RequestAction.PAUSE), 10)
    assert log.entries.by_key["infra/operator/pause"].pause is not None
    lines = told(log, WIDE, 20)
    assert "  infra is paused by lee since Mon 2026-05-04 09:10: broken build" in lines
    assert lines[-1] == "  next: nothing while infra is paused by lee"
    assert told(log, "infra/operator/pause", 20)[2] == "  this is the entry by which the target is paused"


def test_a_run_that_is_asked_for_once_more():
    log = Log()
    log.append(scale_out("a", 60, 600))
    world = lived(log, 90)
    run = world.began[-1].workflow
    asked = {"action": RequestAction.RERUN, "run": run, "description": "half of it failed", "title": ""}
    world.log.append(replace(scale_out("again", None, None), **asked), 90)
    whole = of_world(world)
    assert [(row.state, row.at) for row in whole.firings] == [("succeeded", at(60)), ("owed", whole.want.again.instant)]
    step = told(world.log, WIDE, 90, world.facts)[-1]
    assert step == f"  next: Mon 2026-05-04 10:30, scale-out to level 1 once more, as {whole.want.again.workflow}"


def test_an_event_of_which_nothing_is_kept():
    assert told(nested(), "infra/pa/2020-01-01", 0)[2:] == [
        "  it is over: nothing of it is kept any more but the log",
        "  next: nothing",
    ]


def test_the_hour_of_a_zone_with_daylight_saving_is_the_local_one():
    log = Log()
    log.append(scale_out("a", 60, 120))
    whole = outlook(
        "infra", log.entries, Facts(), profiles(zone="America/New_York"), START, grace=timedelta(seconds=60)
    )
    ahead = event_outlook(whole, WIDE, "America/New_York", grace=GRACE)
    lines = now_lines(whole, whole.entries.by_key[WIDE], ahead, "America/New_York")
    assert lines[-1].startswith("  next: Sun 2026-05-03 21:00, scale-out")
    assert datetime(2026, 5, 4, 1, tzinfo=UTC) == at(60)
