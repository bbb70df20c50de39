"""Decisions become messages: which are told, what they say, and that their ids depend on the decision alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peaktime.core import wording
from peaktime.core.messages import (
    notification_of_dead_letter,
    notifications_of_calendar,
    notifications_of_entry,
    notifications_of_fact,
)
from schemas.codec import Codec
from schemas.records import (
    Action,
    CalendarDay,
    CalendarState,
    Change,
    Deletion,
    Entry,
    Fact,
    FactState,
    NotificationKind,
    Outcome,
    OutcomeKind,
    Peak,
    PeakChange,
    PeakChangeKind,
    RequestAction,
    ScaleRequest,
    Severity,
    Verdict,
    VerdictKind,
)

NINE = datetime(2026, 5, 4, 0, 0, tzinfo=UTC)  # 09:00 in Seoul, a Monday
NOW = datetime(2026, 5, 1, 3, 0, tzinfo=UTC)
REQUEST = ScaleRequest(
    request_id="r-1",
    action=RequestAction.SCALE_OUT,
    target="infra",
    day="mon",
    band="morning",
    event_date="2026-05-04",
    starts_at=NINE,
    ends_at=NINE + timedelta(hours=3),
    title="Spring sale",
    description="Bring coffee",
    owner="Mina",
    requested_at=NOW,
)


def action_of(request):
    return Action(
        request_id=request.request_id,
        day=request.day,
        band=request.band,
        starts_at=request.starts_at,
        ends_at=request.ends_at,
        title=request.title,
        owner=request.owner,
        requested_at=request.requested_at,
        position=7,
        changed_at=NOW,
    )


def entry(kind=VerdictKind.ACCEPTED, request=REQUEST, position=7, **more):
    verdict = {key: more.pop(key) for key in ("code", "reason", "changes", "previous_owner") if key in more}
    return Entry(
        target=request.target,
        origin=request.origin,
        event_date=request.event_date,
        position=position,
        log_time=NOW,
        verdict=Verdict(kind=kind, request=request, **verdict),
        **more,
    )


def told(*args, **kwargs):
    (one,) = notifications_of_entry(entry(*args, **kwargs), "entries/0/7")
    return one


def everything(notification):
    return "\n".join([notification.headline, notification.text, *(f"{f.name}: {f.value}" for f in notification.fields)])


class TestVerdicts:
    def test_an_accepted_request_says_who_asked_for_what_when_and_what_follows(self):
        message = told(scale_out=action_of(REQUEST))
        assert message.kind is NotificationKind.ACCEPTED
        assert message.severity is Severity.INFO
        assert message.thread == message.entry == "infra/pa/2026-05-04"
        assert message.request_id == "r-1"
        assert message.source == "entries/0/7"
        assert message.decided_at == NOW
        assert message.headline == "Accepted: Spring sale, scale out, 2026-05-04 (Mon)"
        assert "Mina asks to scale infra out with profile infra-mon-morning" in message.text
        assert "Mon 2026-05-04 09:00 to 12:00 (Asia/Seoul)" in message.text
        fields = {f.name: f.value for f in message.fields}
        assert fields == {
            "Event": "Spring sale",
            "Event date": "2026-05-04 (Mon)",
            "Profile": "infra-mon-morning",
            "Window": "Mon 2026-05-04 09:00 to 12:00 (Asia/Seoul)",
            "Asked by": "Mina",
            "Origin": "pa",
            "Description": "Bring coffee",
            "Request": "r-1",
        }

    def test_a_scale_out_without_a_scale_in_says_that_capacity_will_stay(self):
        assert "Nobody has asked for a scale-in yet" in told(scale_out=action_of(REQUEST)).text
        open_ended = replace(REQUEST, ends_at=None)
        assert "end is not known yet" in told(request=open_ended, scale_out=action_of(open_ended)).text
        both = told(scale_out=action_of(REQUEST), scale_in=action_of(REQUEST)).text
        assert "Nobody has asked" not in both
        assert "not known yet" not in both

    def test_a_replaced_request_says_what_changed_in_local_time_and_whose_it_was(self):
        changes = (
            Change(field="end", before="2026-05-04T03:00Z", after="2026-05-04T04:00Z"),
            Change(field="title", before="2026-05-04T03:00Z", after="Spring sale"),
            Change(field="description", after="Bring coffee"),
            Change(field="band", before="night"),
        )
        message = told(VerdictKind.REPLACED, changes=changes, previous_owner="Joon", scale_out=action_of(REQUEST))
        assert message.headline.startswith("Changed: Spring sale")
        assert "This replaces what Joon asked for before." in message.text
        assert "• end: Mon 2026-05-04 12:00 (Asia/Seoul) → Mon 2026-05-04 13:00 (Asia/Seoul)" in message.text
        assert "• title: 2026-05-04T03:00Z → Spring sale" in message.text  # a user's words, never rewritten
        assert "• description: Bring coffee (there was none)" in message.text
        assert "• band: night → nothing" in message.text

    @pytest.mark.parametrize(
        ("kind", "word", "severity"),
        [
            (VerdictKind.STALE, "Out of date", Severity.WARNING),
            (VerdictKind.REJECTED, "Rejected", Severity.WARNING),
            (VerdictKind.WITHDRAWN, "Withdrawn", Severity.INFO),
        ],
    )
    def test_the_other_verdicts_give_their_reason(self, kind, word, severity):
        message = told(kind, reason="the moon is full", changes=(Change(field="scale-out", before="x"),))
        assert message.headline.startswith(f"{word}: Spring sale")
        assert "the moon is full" in message.text
        assert message.severity is severity

    def test_deleting_what_is_not_there_says_so(self):
        request = replace(REQUEST, action=RequestAction.DELETE, starts_at=None, ends_at=None)
        message = told(VerdictKind.WITHDRAWN, request, code="nothing-there", reason="there was nothing to withdraw")
        assert "Nothing had to be done: there was nothing to withdraw." in message.text
        assert "is removed" not in message.text

    def test_a_deletion_without_a_title_is_told_with_the_title_that_the_event_had(self):
        request = replace(REQUEST, action=RequestAction.DELETE, title="", starts_at=None, ends_at=None)
        deletion = Deletion(request_id="r-1", title="Spring sale", requested_at=NOW, position=7, changed_at=NOW)
        message = told(VerdictKind.WITHDRAWN, request, deletion=deletion, changes=(Change(field="scale-out"),))
        assert message.headline == "Withdrawn: Spring sale, delete, 2026-05-04 (Mon)"

    @pytest.mark.parametrize("kind", [VerdictKind.DUPLICATE, VerdictKind.UNKNOWN])
    def test_a_duplicate_and_a_verdict_of_a_newer_version_are_not_told(self, kind):
        assert notifications_of_entry(entry(kind), "") == ()

    def test_a_calendars_group_is_told_by_the_calendar_unless_one_is_refused(self):
        grouped = replace(REQUEST, origin="kr-holidays", group="g")
        assert notifications_of_entry(entry(request=grouped), "") == ()
        assert len(notifications_of_entry(entry(VerdictKind.REJECTED, grouped), "")) == 1
        assert len(notifications_of_entry(entry(VerdictKind.STALE, grouped), "")) == 1
        assert len(notifications_of_entry(entry(request=replace(REQUEST, group="g")), "")) == 1

    @pytest.mark.parametrize("action", list(RequestAction))
    @pytest.mark.parametrize(
        "kind",
        [
            VerdictKind.ACCEPTED,
            VerdictKind.REPLACED,
            VerdictKind.STALE,
            VerdictKind.WITHDRAWN,
            VerdictKind.REJECTED,
        ],
    )
    def test_every_action_can_be_told_with_every_verdict_even_if_nothing_is_stated(self, action, kind):
        bare = ScaleRequest(request_id="", action=action, target="", event_date="", requested_at=NOW)
        message = told(kind, bare)
        assert message.headline
        assert "None" not in everything(message)

    def test_instants_are_shown_in_the_zone_that_is_asked_for_and_ids_do_not_depend_on_it(self):
        (seoul,) = notifications_of_entry(entry(), "", zone="Asia/Seoul")
        (york,) = notifications_of_entry(entry(), "", zone="America/New_York")
        assert "Sun 2026-05-03 20:00" in york.text
        assert seoul.notification_id == york.notification_id


RUN = Outcome(
    outcome_id="o-1",
    kind=OutcomeKind.SCHEDULED,
    subject="run/peaktime-create-infra-mon-morning-20260504-1777852800",
    target="infra",
    at=NOW,
    entry="infra/pa/2026-05-04",
    event_date="2026-05-04",
    request_id="r-1",
    title="Spring sale",
    owner="Mina",
    action=RequestAction.SCALE_OUT,
    day="mon",
    band="morning",
    level=3,
    namespace="peaktime",
    cron_workflow="peaktime-create-infra-mon-morning-20260504",
    workflow="peaktime-create-infra-mon-morning-20260504-1777852800",
    fires_at=NINE,
    link="https://argo.example/w",
    message="as reported",
)
STATES = {
    OutcomeKind.SCHEDULED: FactState.SCHEDULED,
    OutcomeKind.STARTED: FactState.STARTED,
    OutcomeKind.SUCCEEDED: FactState.SUCCEEDED,
    OutcomeKind.FAILED: FactState.FAILED,
    OutcomeKind.ENDED: FactState.ENDED,
    OutcomeKind.MISSED: FactState.MISSED,
    OutcomeKind.REMOVED: FactState.REMOVED,
    OutcomeKind.PROBLEM_OPENED: FactState.OPEN,
    OutcomeKind.PROBLEM_CLOSED: FactState.CLOSED,
    OutcomeKind.SLOW: FactState.STARTED,
    OutcomeKind.REMINDER: FactState.TOLD,
    OutcomeKind.DIGEST: FactState.TOLD,
    OutcomeKind.CALENDAR_STALE: FactState.TOLD,
    OutcomeKind.CONFIGURED: FactState.TOLD,
}


def fact(kind, position=11, **changes):
    outcome = replace(RUN, kind=kind, **changes)
    return Fact(
        subject=outcome.subject,
        target="infra",
        position=position,
        log_time=NOW,
        episode=2,  # the first settings of a target change nothing, so nobody is told
        state=STATES.get(kind, FactState.UNKNOWN),
        started_at=NINE,
        finished_at=NINE + timedelta(seconds=200),
        outcome=outcome,
    )


class TestOutcomes:
    @pytest.mark.parametrize(
        ("kind", "headline", "severity"),
        [
            (OutcomeKind.SCHEDULED, "Scheduled: scale-out for Spring sale, Mon 2026-05-04 09:00", Severity.INFO),
            (OutcomeKind.STARTED, "Started: scale-out for Spring sale", Severity.INFO),
            (OutcomeKind.SUCCEEDED, "Done: scale-out for Spring sale", Severity.INFO),
            (OutcomeKind.FAILED, "FAILED: scale-out for Spring sale", Severity.ERROR),
            (OutcomeKind.ENDED, "Over, result unknown: scale-out for Spring sale", Severity.WARNING),
            (OutcomeKind.MISSED, "MISSED: scale-out for Spring sale", Severity.ERROR),
            (OutcomeKind.REMOVED, "Removed: scale-out for Spring sale, Mon 2026-05-04 09:00", Severity.INFO),
            (OutcomeKind.SLOW, "Slow: scale-out for Spring sale", Severity.WARNING),
            (OutcomeKind.REMINDER, "Reminder: scale-out for Spring sale, Mon 2026-05-04 09:00", Severity.INFO),
            (OutcomeKind.PROBLEM_OPENED, "Problem: as reported", Severity.ERROR),
            (OutcomeKind.PROBLEM_CLOSED, "Solved: as reported", Severity.INFO),
            (OutcomeKind.DIGEST, "The coming days of infra", Severity.INFO),
            (OutcomeKind.CALENDAR_STALE, "Calendar out of date: kr-holidays", Severity.WARNING),
            (OutcomeKind.CONFIGURED, "Settings of infra changed", Severity.INFO),
        ],
    )
    def test_each_kind_has_its_message(self, kind, headline, severity):
        (message,) = notifications_of_fact(fact(kind, origin="kr-holidays"), "facts/1/11")
        assert message.kind.value == kind.value
        assert message.headline == headline
        assert message.severity is severity
        assert message.thread == "infra/pa/2026-05-04"
        assert message.link == "https://argo.example/w"
        assert "as reported" in everything(message)
        assert "None" not in everything(message)

    def test_no_kind_is_forgotten(self):
        assert set(STATES) == set(OutcomeKind) - {OutcomeKind.UNKNOWN}
        told_kinds = {k.value for k in STATES} | {v.value for v in VerdictKind} - {"DUPLICATE"}
        others = {"CALENDAR_CHANGED", "CALENDAR_REFUSED", "DEAD_LETTER"}
        assert told_kinds | others == {k.value for k in NotificationKind}

    def test_an_outcome_of_a_newer_version_is_not_told(self):
        assert notifications_of_fact(fact(OutcomeKind.UNKNOWN), "") == ()

    def test_a_start_that_is_reported_after_the_end_is_not_told(self):
        late = replace(fact(OutcomeKind.STARTED), state=FactState.SUCCEEDED)
        assert notifications_of_fact(late, "") == ()

    def test_a_run_that_succeeded_says_how_long_it_took_and_the_level_now(self):
        (message,) = notifications_of_fact(fact(OutcomeKind.SUCCEEDED), "")
        assert "succeeded after 3 min 20 s" in message.text
        assert "infra is at level 3 now" in message.text

    @pytest.mark.parametrize("kind", list(STATES))
    def test_a_bare_outcome_can_be_told(self, kind):
        bare = Outcome(outcome_id="", kind=kind, subject="s", target="", at=NOW)
        (message,) = notifications_of_fact(
            Fact(subject="s", target="", position=0, log_time=NOW, episode=2, state=STATES[kind], outcome=bare),
            "",
        )
        assert message.thread == "s"
        assert "None" not in everything(message)

    def test_a_stale_calendar_is_told_in_the_calendars_thread(self):
        (message,) = notifications_of_fact(fact(OutcomeKind.CALENDAR_STALE, entry="", origin="kr"), "")
        assert message.thread == "calendar/kr"

    def test_details_are_fields_but_a_whole_configuration_is_not(self):
        details = {"profiles.yaml": "x" * 5000, "version": "4"}
        (message,) = notifications_of_fact(fact(OutcomeKind.CONFIGURED, details=details), "")
        fields = {f.name: f.value for f in message.fields}
        assert fields["version"] == "4"
        assert fields["profiles.yaml"] == "5000 characters, see the log"


PEAK = Peak(
    event_date=date(2026, 9, 29),
    run_start=date(2026, 9, 24),
    run_end=date(2026, 9, 28),
    holidays=(CalendarDay(date=date(2026, 9, 25), name="Chuseok"), CalendarDay(date=date(2026, 9, 24), name="Chuseok")),
    position=3,
    requests=(replace(REQUEST, starts_at=NINE, ends_at=NINE + timedelta(hours=1)),),
)


class TestCalendars:
    def test_all_changes_are_one_message_and_a_moved_peak_is_one_change(self):
        state = CalendarState(
            calendar_id="kr",
            position=3,
            log_time=NOW,
            target="infra",
            peaks=(PEAK,),
            changes=(
                PeakChange(kind=PeakChangeKind.MOVED, before=date(2026, 9, 28), after=PEAK.event_date, why="new day"),
                PeakChange(kind=PeakChangeKind.ADDED, after=date(2026, 10, 12)),
                PeakChange(kind=PeakChangeKind.CHANGED, after=date(2026, 10, 13)),
                PeakChange(kind=PeakChangeKind.WITHDRAWN, before=date(2026, 10, 14), why="no longer a holiday"),
                PeakChange(),
            ),
        )
        (message,) = notifications_of_calendar(state, "calendar-states/0/3")
        assert message.kind is NotificationKind.CALENDAR_CHANGED
        assert message.thread == "calendar/kr"
        assert message.headline == "Calendar kr: 5 changes of peaks"
        lines = message.text.splitlines()
        assert lines[0] == (
            "• Peak moved from Mon 2026-09-28 to Tue 2026-09-29, Mon 2026-05-04 09:00 to 10:00 (Asia/Seoul), "
            "after Chuseok (Thu 2026-09-24 to Mon 2026-09-28). Why: new day"
        )
        assert lines[1] == "• New peak on Mon 2026-10-12."
        assert lines[2] == "• Peak on Tue 2026-10-13 changed."
        assert lines[3] == "• Peak on Wed 2026-10-14 withdrawn. Why: no longer a holiday"
        assert "does not know" in lines[4]

    def test_a_refused_snapshot_says_why(self):
        state = CalendarState(calendar_id="kr", position=4, log_time=NOW, refused="the feed is empty")
        (message,) = notifications_of_calendar(state, "")
        assert message.kind is NotificationKind.CALENDAR_REFUSED
        assert message.severity is Severity.WARNING
        assert "the feed is empty" in message.text

    def test_a_snapshot_that_changed_nothing_is_not_told(self):
        assert notifications_of_calendar(CalendarState(calendar_id="kr", position=4, log_time=NOW), "") == ()


def dead(offset=5, partition=0, topic="peaktime.requests.v1"):
    return notification_of_dead_letter(
        topic,
        partition,
        offset,
        code="truncated",
        reason="it ends in the middle of a field",
        stage="fold",
        key="infra",
        log_time=NOW,
    )


def test_of_a_letter_with_a_key_as_long_as_a_record_the_beginning_is_told():
    told = notification_of_dead_letter(
        "peaktime.requests.v1",
        3,
        7,
        code="magic",
        reason="r" * 5000,
        stage="fold-requests",
        key="\ufffd" * 1_000_000,
        log_time=NOW,
    )
    assert len(Codec().encode(told, "t")) < 5000
    assert next(f.value for f in told.fields if f.name == "Key").startswith("\ufffd" * 100)


def test_a_dead_letter_names_its_place_and_reason():
    message = dead()
    assert message.severity is Severity.WARNING
    assert message.thread == "dead-letters"
    assert "it ends in the middle of a field" in message.text
    assert {"Place": "peaktime.requests.v1/0/5", "Code": "truncated"}.items() <= {
        f.name: f.value for f in message.fields
    }.items()
    assert len({dead(5).notification_id, dead(6).notification_id, dead(5, 1).notification_id}) == 3


KINDS = [VerdictKind.ACCEPTED, VerdictKind.REPLACED, VerdictKind.STALE, VerdictKind.WITHDRAWN, VerdictKind.REJECTED]
decisions = st.one_of(
    st.tuples(
        st.just("entry"),
        st.sampled_from(KINDS),
        st.text(max_size=8),
        st.text(max_size=8),
        st.integers(0, 2**62),
    ),
    st.tuples(st.just("fact"), st.sampled_from(list(STATES)), st.text(max_size=8), st.just(""), st.integers(0, 2**62)),
    st.tuples(st.just("calendar"), st.booleans(), st.text(max_size=8), st.just(""), st.integers(0, 2**62)),
    st.tuples(st.just("dead"), st.just(0), st.sampled_from(["t", "u"]), st.just(""), st.integers(0, 2**62)),
)


def tell(decision):
    what, kind, a, b, position = decision
    if what == "entry":
        return notifications_of_entry(entry(kind, replace(REQUEST, target=a, event_date=b), position), "")[0]
    if what == "fact":
        return notifications_of_fact(fact(kind, position, subject=a), "")[0]
    if what == "calendar":
        changes = () if kind else (PeakChange(kind=PeakChangeKind.ADDED, after=date(2026, 5, 4)),)
        state = CalendarState(
            calendar_id=a,
            position=position,
            log_time=NOW,
            refused="no" if kind else "",
            changes=changes,
        )
        return notifications_of_calendar(state, "")[0]
    return dead(position, topic=a)


@given(decisions, decisions)
def test_ids_are_the_same_for_the_same_decision_and_differ_for_any_other(one, other):
    assert tell(one).notification_id == tell(one).notification_id
    assert len(tell(one).notification_id) == 32
    assert (tell(one).notification_id == tell(other).notification_id) == (one == other)


@given(
    title=st.text(max_size=300),
    description=st.text(max_size=300),
    owner=st.text(max_size=100),
    reason=st.text(max_size=100),
    kind=st.sampled_from(KINDS),
)
def test_nothing_that_a_user_wrote_is_lost(title, description, owner, reason, kind):
    request = replace(REQUEST, title=title, description=description, owner=owner)
    message = told(kind, request, reason=reason, changes=(Change(field="title", before=title, after="x"),))
    fields = {f.name: f.value for f in message.fields}
    assert fields.get("Event", "") == title
    assert fields.get("Description", "") == description
    assert fields.get("Asked by", "") == owner
    assert reason in message.text
    assert len(message.headline.splitlines()) == 1
    if message.kind is NotificationKind.REPLACED:
        assert title in message.text


@given(st.datetimes(timezones=st.just(UTC)), st.sampled_from(["Asia/Seoul", "America/New_York", "Pacific/Kiritimati"]))
def test_any_instant_of_a_record_can_be_shown(instant, zone):
    assert wording.instant(instant, zone)
    assert wording.window(instant, instant, zone)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (45, "45 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (3605, "1 h"),
        (97_200, "1 d 3 h"),
    ],
)
def test_lengths_of_time_in_their_two_largest_units(seconds, shown):
    assert wording.length(timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(
    ("starts", "ends", "shown"),
    [
        (None, None, ""),
        (None, NINE, "until Mon 2026-05-04 09:00 (Asia/Seoul)"),
        (NINE, None, "from Mon 2026-05-04 09:00, end not known yet (Asia/Seoul)"),
        (NINE, NINE + timedelta(hours=15), "Mon 2026-05-04 09:00 to Tue 2026-05-05 00:00 (Asia/Seoul)"),
    ],
)
def test_windows_show_the_end_that_is_known(starts, ends, shown):
    assert wording.window(starts, ends, "Asia/Seoul") == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2026-05-04", "2026-05-04 (Mon)"),
        ("2026-05-04T09:00", "2026-05-04T09:00 (Mon)"),
        ("20260504", "20260504 (Mon)"),
        ("2026-02-30", "2026-02-30"),
        ("soon", "soon"),
    ],
)
def test_event_dates_keep_their_words_and_gain_a_weekday(value, shown):
    assert wording.event_date(value) == shown
