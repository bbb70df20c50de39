"""The pure parts of the demo: its timeline, its summary, its folder, its feed."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import yaml
from rich.cells import cell_len

from peaktime.calendars import load_calendars
from peaktime.sandbox import demo_cluster, demo_feed, demo_stage
from peaktime.sandbox.demo_story import Line, Story, column, rendered, shortened
from peaktime.sandbox.demo_summary import Finish, Refused, summarise
from peaktime.sandbox.demo_topics import Seen
from schemas.records import (
    Action,
    Delivery,
    Entry,
    Fact,
    FactState,
    Notification,
    NotificationField,
    NotificationKind,
    Outcome,
    OutcomeKind,
    RequestAction,
    ScaleRequest,
    Verdict,
    VerdictKind,
)

NOW = datetime(2026, 5, 1, 3, 0, tzinfo=UTC)
SEOUL = ZoneInfo("Asia/Seoul")
WORKFLOW = "peaktime-create-infra-common-common-20260504-1777852800"
CRON = "peaktime-create-infra-common-common-20260504"


def ask(
    request_id="r1",
    action=RequestAction.SCALE_OUT,
    title="봄 세일",
    group=None,
    origin="pa",
    event_date="2026-05-04",
):
    return ScaleRequest(
        request_id=request_id,
        action=action,
        target="infra",
        event_date=event_date,
        starts_at=NOW + timedelta(days=3),
        title=title,
        owner="kim",
        requested_at=NOW,
        group=group,
        origin=origin,
    )


def judged(request, position=0, kind=VerdictKind.ACCEPTED, reason=""):
    action = Action(
        request_id=request.request_id,
        title=request.title,
        requested_at=NOW,
        position=position,
        changed_at=NOW,
    )
    return Entry(
        target="infra",
        origin=request.origin,
        event_date=request.event_date,
        position=position,
        log_time=NOW,
        scale_out=action if kind is VerdictKind.ACCEPTED else None,
        verdict=Verdict(kind=kind, reason=reason, request=request),
    )


def seen(topic, record, offset=0, **more):
    return Seen(topic=topic, partition=1, offset=offset, record=record, headers={}, **more)


def run_fact(state, kind=OutcomeKind.STARTED, position=0):
    outcome = Outcome(
        outcome_id=str(kind),
        kind=kind,
        subject=f"run/{WORKFLOW}",
        target="infra",
        at=NOW,
        entry="infra/pa/2026-05-04",
        title="봄 세일",
        action=RequestAction.SCALE_OUT,
        cron_workflow=CRON,
        workflow=WORKFLOW,
        request_id="r1",
    )
    over = state in (FactState.SUCCEEDED, FactState.FAILED)
    return Fact(
        subject=outcome.subject,
        target="infra",
        position=position,
        log_time=NOW,
        state=state,
        outcome=outcome,
        started_at=NOW if state is not FactState.SCHEDULED else None,
        finished_at=NOW if over else None,
    )


def told(kind=NotificationKind.ACCEPTED, notification_id="n1"):
    return Notification(
        notification_id=notification_id,
        kind=kind,
        thread="infra/pa/2026-05-04",
        entry="infra/pa/2026-05-04",
        headline="Accepted: 봄 세일, scale out, 2026-05-04 (Mon)",
        decided_at=NOW,
        fields=(NotificationField(name="Event", value="봄 세일"),),
    )


def cron(change="created"):
    manifest = {
        "kind": "CronWorkflow",
        "metadata": {
            "name": CRON,
            "annotations": {"peaktime.io/request": "r1", "peaktime.io/title": "봄 세일"},
            "labels": {"peaktime.io/action": "create"},
        },
        "spec": {"schedules": ["0 9 4 5 *"], "timezone": "Asia/Seoul"},
    }
    return demo_cluster.Change(change, manifest)


# -- the timeline --


def test_every_line_waits_for_what_it_follows_from_whatever_order_the_topics_are_read_in():
    story = Story("Asia/Seoul")
    delivered = Delivery(notification_id="n1", delivered_at=NOW)
    assert story.record(seen("deliveries", delivered)) == []
    assert story.record(seen("notifications", told())) == []
    assert story.change(cron()) == []
    assert story.record(seen("entries", judged(ask(), position=7))) == []
    lines = story.record(seen("requests", ask(), offset=7))
    assert [line.kind for line in lines][:2] == ["request", "verdict"]
    assert {line.kind for line in lines[2:]} == {"message", "CronWorkflow"}
    assert {line.title for line in lines} == {"봄 세일"}
    assert story.flush() == []


def test_a_message_is_told_when_it_is_delivered_not_before():
    story = Story("Asia/Seoul")
    story.record(seen("requests", ask()))
    story.record(seen("entries", judged(ask())))
    assert story.record(seen("notifications", told())) == []
    (line,) = story.record(seen("deliveries", Delivery(notification_id="n1", delivered_at=NOW)))
    assert line.text == "Accepted: scale out, 2026-05-04 (Mon)"


def test_a_removed_cron_workflow_whose_run_began_is_told_after_the_run_is_over():
    story = Story("Asia/Seoul")
    story.record(seen("facts", run_fact(FactState.STARTED)))
    assert story.change(cron("gone")) == []
    lines = story.record(seen("facts", run_fact(FactState.SUCCEEDED)))
    assert [line.kind for line in lines] == ["run", "CronWorkflow"]
    assert lines[1].text.endswith("; its Workflow stays")


def test_a_calendars_scale_out_and_scale_in_share_a_line_unless_one_stays_alone():
    story = Story("Asia/Seoul")
    story._told.add(("state", "kr"))
    out = ask("a", group="g", origin="kr")
    assert story.record(seen("requests", out, offset=1)) == []
    (line,) = story.record(seen("requests", ask("b", RequestAction.SCALE_IN, group="g", origin="kr"), offset=2))
    assert "scale-out and scale-in" in line.text
    assert story.record(seen("requests", ask("c", group="g", origin="kr", event_date="2026-05-05"), offset=3)) == []
    (alone,) = story.flush()
    assert "scale-out of" in alone.text


def test_what_nothing_explains_is_told_at_the_next_quiet_moment():
    story = Story("Asia/Seoul")
    story.change(cron())
    assert [line.kind for line in story.flush()] == ["CronWorkflow"]


@pytest.mark.parametrize(
    ("message", "texts"),
    [
        ("by 3 days, 4:05:06", ["put forward by 3 d 4 h to Fri 2026-05-01 12:00"]),
        ("by 4:29:58", ["put forward by 4 h 29 min to Fri 2026-05-01 12:00"]),
        ("by 0:00:01", []),
        ("nonsense", []),
    ],
)
def test_only_leaps_of_the_clock_are_told(message, texts):
    step = {"event": "advanced", "message": message, "at": NOW.isoformat()}
    assert [line.text for line in Story("Asia/Seoul").step(step)] == texts


@pytest.mark.parametrize("text", ["", "Sale", "어린이날 선착순 쿠폰", "🎉 party", "가" * 40, "a" * 40, "two\nlines"])
@pytest.mark.parametrize("cells", [9, 10, 24])
def test_a_column_is_exactly_as_wide_as_asked_on_a_terminal(text, cells):
    fitted = column(text, cells)
    assert cell_len(fitted) == cells
    assert "\n" not in fitted


def test_a_line_is_one_line_and_takes_nothing_for_markup():
    text = rendered(Line(kind="verdict", title="[red]x[/red]\x1b", text="a\nb"), NOW, SEOUL, 200).plain
    assert text.startswith("05-01 12:00:00  verdict ")
    assert "[red]x[/red]" in text
    assert text.isprintable()


def test_a_headline_is_shortened_by_the_title_that_has_its_own_column():
    assert shortened("Scheduled: scale-out for Sale, Mon 09:00", "Sale") == "Scheduled: scale-out, Mon 09:00"
    assert shortened("Problem: 'Sale' has no end", "Sale") == "Problem: 'Sale' has no end"


# -- the summary --


def finish(**changes):
    base = Finish(
        pa="pa",
        feed="feed",
        bodies=1,
        published=1,
        refused=(),
        planned={},
        live=frozenset(),
        workflows=frozenset({WORKFLOW}),
        began=NOW,
        clock=NOW + timedelta(days=1),
        seconds=20,
        zone="Asia/Seoul",
    )
    return replace(base, **changes)


def records():
    return [
        seen("requests", ask()),
        seen("entries", judged(ask())),
        seen("facts", run_fact(FactState.SUCCEEDED)),
        seen("notifications", told()),
        seen("notifications", told()),
        seen("deliveries", Delivery(notification_id="n1", delivered_at=NOW)),
    ]


def test_a_summary_that_adds_up():
    summary = summarise(records(), finish())
    assert summary["faults"] == []
    assert summary["ok"]
    assert summary["verdicts"]["ACCEPTED"] == 1
    assert summary["runs"]["succeeded"] == 1
    assert summary["notifications"] == {"ACCEPTED": 1}
    (event,) = summary["events"]
    assert (event["title"], event["state"]) == ("봄 세일", "done")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"published": 2, "bodies": 2}, "2 bodies were published, but 1 requests are there"),
        ({"bodies": 3, "refused": [Refused(file="x", reason="y")]}, "of 3 bodies 1 were published and 1 refused"),
        ({"workflows": frozenset()}, f"the Workflow {WORKFLOW} of a run that is over is not in the cluster"),
        ({"live": frozenset({CRON})}, f"the CronWorkflow {CRON} of a run that is over is still in the cluster"),
        ({"faults": ["the feed is away"]}, "the feed is away"),
    ],
)
def test_what_does_not_add_up_is_said(change, fault):
    summary = summarise(records(), finish(**change))
    assert fault in summary["faults"]
    assert not summary["ok"]


@pytest.mark.parametrize(
    ("without", "fault"),
    [
        ("entries", "1 requests came in, but there are 0 verdicts, 0 forwarded, 0 dead letters"),
        ("deliveries", "1 messages were not delivered"),
    ],
)
def test_a_record_that_is_missing_is_missed(without, fault):
    summary = summarise([one for one in records() if one.topic != without], finish())
    assert fault in summary["faults"]


def test_a_dead_letter_and_a_failed_run_are_faults():
    letter = Seen(topic="dead-letters", partition=0, offset=0, headers={"peaktime-reason": "magic"})
    failed = seen("facts", run_fact(FactState.FAILED, OutcomeKind.FAILED))
    faults = summarise([*records(), letter, failed], finish())["faults"]
    assert "a record became a dead letter: magic" in faults
    assert any(fault.startswith(f"the run {WORKFLOW} failed") for fault in faults)


def test_the_summary_is_the_same_whatever_order_the_topics_are_read_in():
    one, other = summarise(records(), finish()), summarise(list(reversed(records())), finish())
    assert one == other
    assert list(one) == list(other)


# -- the folder --


def test_only_a_folder_of_a_demo_or_an_empty_one_is_emptied(tmp_path):
    mine = tmp_path / "out"
    with demo_stage.output_folder(mine) as folder:
        (folder / "summary.json").write_text("{}")
        (folder / "cluster").mkdir()
        with pytest.raises(demo_stage.DemoError, match="another demo is writing there"), demo_stage.output_folder(mine):
            pass
    with demo_stage.output_folder(mine) as folder:
        assert [file.name for file in folder.iterdir()] == [demo_stage.MARKER]
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "thesis.txt").write_text("years of work")
    with pytest.raises(demo_stage.DemoError, match="holds files that no demo left"), demo_stage.output_folder(stranger):
        pass
    assert (stranger / "thesis.txt").read_text() == "years of work"
    with (
        pytest.raises(demo_stage.DemoError, match="is not a folder"),
        demo_stage.output_folder(stranger / "thesis.txt"),
    ):
        pass


def test_what_a_link_in_the_folder_points_to_is_left_alone(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    with demo_stage.output_folder(tmp_path / "out") as folder:
        (folder / "link").symlink_to(tmp_path / "kept")
    with demo_stage.output_folder(tmp_path / "out"):
        assert (tmp_path / "kept" / "file").exists()


def test_planned_manifests_are_saved_without_what_only_a_cluster_sets(tmp_path):
    manifest = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "CronWorkflow",
        "metadata": {
            "name": CRON,
            "uid": "u",
            "resourceVersion": "1",
            "creationTimestamp": "now",
            "annotations": {"t": "봄"},
        },
        "spec": {"schedules": ["0 9 4 5 *"]},
        "status": {"active": []},
    }
    demo_cluster.save({CRON: manifest}, tmp_path / "cluster")
    text = (tmp_path / "cluster" / f"{CRON}.yaml").read_text(encoding="utf-8")
    assert "봄" in text
    saved = yaml.safe_load(text)
    assert saved["metadata"] == {"name": CRON, "annotations": {"t": "봄"}}
    assert "status" not in saved


# -- the feed --


def test_the_feed_holds_the_public_holidays_of_two_years(tmp_path):
    now = datetime(2026, 11, 23, tzinfo=SEOUL)
    file = tmp_path / "holidays.ics"
    file.write_bytes(demo_feed.write_feed(now))
    calendar = demo_feed.demo_calendar(str(file), tmp_path, now)
    assert (calendar.feed, calendar.note) == (str(file), "")
    (settings,) = load_calendars(calendar.calendars).calendars
    assert settings == demo_feed.sample_calendar().model_copy(update={"stale_after": timedelta(days=365)})
    text = file.read_text(encoding="utf-8")
    assert "20261225" in text
    assert "20270505" in text


def ics(path, *days):
    events = "".join(
        f"BEGIN:VEVENT\r\nUID:{day}\r\nDTSTAMP:20260101T000000Z\r\nDTSTART;VALUE=DATE:{day:%Y%m%d}\r\nSUMMARY:off\r\nEND:VEVENT\r\n"
        for day in days
    )
    path.write_text(f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n{events}END:VCALENDAR\r\n")
    return str(path)


def test_a_feed_that_ends_early_gets_a_calendar_that_looks_as_far_as_it_goes(tmp_path):
    now = datetime(2026, 11, 23, tzinfo=SEOUL)
    short = demo_feed.demo_calendar(ics(tmp_path / "a.ics", date(2026, 12, 1)), tmp_path, now)
    assert "38 days" in short.note
    assert yaml.safe_load(short.calendars.read_text(encoding="utf-8"))["calendars"][0]["horizonDays"] == 38
    past = demo_feed.demo_calendar(ics(tmp_path / "b.ics", date(2024, 12, 1)), tmp_path, now)
    assert (load_calendars(past.calendars).calendars[0].horizon_days, past.note) == (364, "")


def test_a_feed_that_is_not_there_is_refused_at_once(tmp_path):
    with pytest.raises(demo_feed.FeedError, match="there is no such file"):
        demo_feed.checked_feed(str(tmp_path / "nowhere.ics"))
    assert demo_feed.checked_feed("holidays:KR") == "holidays:KR"
