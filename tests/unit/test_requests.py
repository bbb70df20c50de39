"""What a request does: the rules of section 4 of the design, one after another."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.asking import DATE, Log, asked, at, delete, scale_in, scale_out

from peaktime.core.requests import (
    REMEMBERED_IDS,
    Entries,
    canonical_event_date,
    ceil_second,
    fold_request,
    open_window,
    refusal,
    stated_end,
)
from schemas.records import RequestAction, VerdictKind

ACCEPTED, REPLACED, DUPLICATE = VerdictKind.ACCEPTED, VerdictKind.REPLACED, VerdictKind.DUPLICATE
STALE, WITHDRAWN, REJECTED = VerdictKind.STALE, VerdictKind.WITHDRAWN, VerdictKind.REJECTED


@pytest.fixture
def log():
    return Log()


class TestRedelivery:
    def test_a_record_at_or_below_the_entrys_position_changes_nothing(self, log):
        log.append(scale_out("a"))
        entry = log.append(scale_out("b", 61))
        for request, position, log_time in log.records:
            assert fold_request(entry, request, position, log_time) is None
            assert log.entries.fold(request, position, log_time) == {}

    def test_the_log_read_twice_from_anywhere_gives_the_same_entries(self, log):
        for number, request in enumerate([scale_out("a"), scale_in("b"), delete("c"), scale_out("d"), scale_out("d")]):
            log.append(request, number)
        for start in range(len(log.records)):
            before = dict(log.entries.by_key)
            for record in log.records[start:]:
                log.entries.fold(*record)
            assert log.entries.by_key == before

    def test_the_entry_says_where_it_was_decided(self, log):
        log.append(scale_out("a"))
        entry = log.append(scale_in("b"), 3)
        assert (entry.position, entry.log_time, log.entries.position) == (1, at(3), 1)


class TestDuplicates:
    def test_the_same_id_again_is_a_duplicate(self, log):
        first = log.append(scale_out("a"))
        again = log.append(scale_out("a"))
        assert (again.verdict.kind, again.verdict.code) == (DUPLICATE, "same-id")
        assert again.scale_out == first.scale_out

    def test_the_same_id_is_a_duplicate_even_with_other_content(self, log):
        log.append(scale_out("a"))
        assert log.verdict(scale_out("a", 90)).kind is DUPLICATE

    def test_an_id_is_remembered_after_it_was_replaced(self, log):
        log.append(scale_out("a"))
        log.append(scale_out("b", 90))
        again = log.append(scale_out("a"))
        assert again.verdict.kind is DUPLICATE
        assert again.scale_out.starts_at == at(90)

    def test_an_id_is_remembered_after_the_event_was_withdrawn(self, log):
        log.append(scale_out("a"))
        log.append(delete("b"), 1)
        again = log.append(scale_out("a"), 2)
        assert again.verdict.kind is DUPLICATE
        assert again.scale_out is None

    def test_ids_are_per_action(self, log):
        log.append(scale_out("same"))
        assert log.verdict(scale_in("same")).kind is ACCEPTED
        assert log.verdict(delete("same")).kind is WITHDRAWN
        assert log.verdict(delete("same")).kind is DUPLICATE

    def test_the_last_32_ids_are_remembered(self, log):
        for number in range(REMEMBERED_IDS + 1):
            log.append(scale_out(f"id-{number}", 60 + number))
        assert log.verdict(scale_out("id-1")).kind is DUPLICATE
        assert log.verdict(scale_out("id-0")).kind is REPLACED

    def test_the_same_content_under_a_new_id_is_a_duplicate(self, log):
        log.append(scale_out("a", 60, 120))
        again = log.append(scale_out("b", 60, 120, requested=-5))
        assert (again.verdict.kind, again.verdict.code) == (DUPLICATE, "same-content")
        assert again.scale_out.request_id == "a"
        assert log.verdict(scale_out("b", 60, 130)).kind is DUPLICATE

    @pytest.mark.parametrize(
        "other",
        [{"start": 61}, {"end": 121}, {"end": None}, {"band": "night"}, {"day": "mon"}, {"description": "x"}],
    )
    def test_other_content_is_none(self, log, other):
        log.append(scale_out("a", 60, 120))
        assert log.verdict(scale_out("b", **{"start": 60, "end": 120, **other})).kind is REPLACED

    def test_a_retry_with_a_higher_revision_raises_the_revision(self, log):
        log.append(scale_out("a", revision=0))
        assert log.append(scale_out("b", revision=5)).scale_out.revision == 5
        assert log.append(scale_out("c", revision=-3)).scale_out.revision == 5

    def test_a_retry_with_a_lower_revision_does_not_lower_it(self, log):
        log.append(scale_out("a", revision=0))
        assert log.append(scale_out("b", revision=-3)).scale_out.revision == 0


class TestStale:
    @pytest.mark.parametrize(("revision", "kind"), [(6, STALE), (7, STALE), (8, REPLACED), (None, REPLACED)])
    def test_a_revision_that_is_not_higher_is_stale(self, log, revision, kind):
        log.append(scale_out("a", revision=7))
        entry = log.append(scale_out("b", 90, revision=revision))
        assert entry.verdict.kind is kind
        assert entry.scale_out.starts_at == at(60 if kind is STALE else 90)

    def test_revisions_are_per_action(self, log):
        log.append(scale_out("a", revision=7))
        assert log.verdict(scale_in("b", revision=1)).kind is ACCEPTED
        assert log.verdict(scale_in("c", 130, revision=2)).kind is REPLACED

    @pytest.mark.parametrize(("requested", "kind"), [(-11, STALE), (-10, STALE), (-9, ACCEPTED)])
    def test_on_a_tombstone_only_what_was_requested_after_the_deletion_counts(self, log, requested, kind):
        log.append(scale_out("a"))
        log.append(delete("b", requested=-10), 1)
        assert log.verdict(scale_out("c", requested=requested), 2).kind is kind

    def test_deleting_what_is_not_there_makes_a_tombstone_too(self, log):
        log.append(delete("a", requested=-10))
        assert log.verdict(scale_out("b", requested=-11)).kind is STALE

    def test_the_other_action_of_the_tombstone_is_judged_by_it_too(self, log):
        log.append(scale_out("a"))
        log.append(scale_in("b"))
        log.append(delete("c", requested=-10))
        assert log.verdict(scale_out("d", requested=-9)).kind is ACCEPTED
        assert log.verdict(scale_in("e", requested=-11)).kind is STALE

    def test_of_two_deletions_the_one_requested_later_counts(self, log):
        log.append(delete("a", requested=-10))
        log.append(delete("b", requested=-20))
        assert log.verdict(scale_out("c", requested=-15)).kind is STALE

    def test_without_a_tombstone_the_newest_on_the_log_wins(self, log):
        log.append(scale_out("a", requested=-10))
        assert log.append(scale_out("b", 90, requested=-20)).scale_out.request_id == "b"


class TestReplaced:
    def test_it_says_what_changed_and_whose_it_was(self, log):
        log.append(scale_out("a", 60, 120, owner="mina", description="first"))
        verdict = log.verdict(scale_out("b", 60, 150, owner="joon", band="night", description="second"))
        assert (verdict.kind, verdict.previous_owner) == (REPLACED, "mina")
        assert {(c.field, c.before, c.after) for c in verdict.changes} == {
            ("end", "2026-05-04T02:00Z", "2026-05-04T02:30Z"),
            ("band", "common", "night"),
            ("owner", "mina", "joon"),
            ("description", "first", "second"),
        }

    def test_the_action_remembers_where_and_when_it_changed(self, log):
        log.append(scale_out("a"))
        action = log.append(scale_out("b", 90), 5).scale_out
        assert (action.position, action.changed_at, action.request_id) == (1, at(5), "b")

    def test_an_end_moved_into_the_past_means_end_now(self, log):
        log.append(scale_out("a", 60, 120))
        entry = log.append(scale_out("b", 60, 70), 90.01)
        assert entry.verdict.kind is REPLACED
        assert stated_end(entry)[0] == at(90) + timedelta(seconds=1)
        assert entry.scale_out.ends_at == at(70)

    def test_a_scale_in_in_the_past_ends_an_open_window_now(self, log):
        log.append(scale_out("a", 60))
        entry = log.append(scale_in("b", 80), 90)
        assert entry.verdict.kind is ACCEPTED
        assert stated_end(entry)[0] == at(90)

    def test_a_scale_in_in_the_past_of_a_window_that_is_over_is_taken_as_it_says(self, log):
        log.append(scale_out("a", 60, 80))
        assert stated_end(log.append(scale_in("b", 70), 90))[0] == at(70)

    def test_an_end_in_the_future_is_taken_as_it_says(self, log):
        log.append(scale_out("a", 60))
        entry = log.append(scale_in("b", 91), 90)
        assert (stated_end(entry)[0], entry.scale_in.ended_at) == (at(91), None)

    def test_the_end_is_the_one_stated_by_the_action_that_changed_last(self, log):
        assert stated_end(log.append(scale_out("a", 60, 120)))[0] == at(120)
        assert stated_end(log.append(scale_in("b", 130)))[0] == at(130)
        assert stated_end(log.append(scale_out("c", 60, 140)))[0] == at(140)
        assert stated_end(log.append(scale_out("d", 60)))[0] == at(130)


class TestMovedWhileOpen:
    def test_moved_later_the_window_closes_at_that_records_log_time_with_the_scale_in_it_had(self, log):
        log.append(scale_out("a", 60))
        log.append(scale_in("b", 120))
        entry = log.append(scale_out("c", 200, 260), 90.01)
        (closed,) = entry.closed
        assert (closed.starts_at, closed.closed_at) == (at(60), at(90) + timedelta(seconds=1))
        assert (closed.scale_out.request_id, closed.scale_in.request_id, closed.end_stated) == ("a", "b", True)
        assert entry.scale_out.starts_at == at(200)

    def test_moved_later_but_into_the_past_it_closes_too_and_goes_on_as_the_new_one(self, log):
        log.append(scale_out("a", 60))
        entry = log.append(scale_out("b", 80), 90)
        (closed,) = entry.closed
        assert (closed.starts_at, closed.closed_at) == (at(60), at(90))
        assert closed.end_stated, "a lone scale-in is for the window that goes on"

    @pytest.mark.parametrize("start", [30, 60])
    def test_moved_earlier_or_only_changed_it_stays_open(self, log, start):
        log.append(scale_out("a", 60, 120))
        assert log.append(scale_out("b", start, 130), 90).closed == ()

    def test_moved_before_it_opened_or_after_it_was_over_nothing_closes(self, log):
        log.append(scale_out("a", 60, 120))
        assert log.append(scale_out("b", 70, 120), 59).closed == ()
        assert log.append(scale_out("c", 200, 260), 120).closed == ()

    def test_at_its_first_instant_it_is_open_and_at_its_last_it_is_not(self, log):
        entry = log.append(scale_out("a", 60, 120))
        assert [open_window(entry, at(minute)) for minute in (59.9, 60, 119.9, 120)] == [False, True, True, False]
        assert not open_window(None, at(60))
        assert open_window(log.append(scale_out("b", 60)), at(100000))


class TestWithdrawn:
    def test_both_actions_go(self, log):
        log.append(scale_out("a", owner="mina"))
        log.append(scale_in("b", owner="joon"))
        entry = log.append(delete("c", owner="sora"), 1)
        assert (entry.verdict.kind, entry.scale_out, entry.scale_in) == (WITHDRAWN, None, None)
        assert entry.verdict.reason == ""
        assert {change.field for change in entry.verdict.changes} == {"scale-out", "scale-in"}
        assert (entry.deletion.title, entry.deletion.owner, entry.deletion.position) == ("Sale", "sora", 2)
        assert entry.closed == ()

    def test_deleting_what_is_not_there_is_accepted_and_says_so(self, log):
        verdict = log.verdict(delete("a"))
        assert (verdict.kind, verdict.code) == (WITHDRAWN, "nothing-there")
        assert log.verdict(delete("b")).code == "nothing-there"

    def test_it_keeps_what_it_needs_to_end_an_open_window(self, log):
        log.append(scale_out("a", 60, 120))
        log.append(scale_in("b", 120, band="night"))
        (closed,) = log.append(delete("c"), 90).closed
        assert (closed.starts_at, closed.closed_at, closed.scale_in.band) == (at(60), at(90), "night")

    def test_without_a_scale_in_it_says_whether_an_end_was_stated(self, log):
        log.append(scale_out("a", 60))
        log.append(scale_out("b", 60, 120, date="2026-05-05"))
        assert not log.append(delete("c"), 90).closed[0].end_stated
        assert log.append(delete("d", date="2026-05-05"), 90).closed[0].end_stated

    def test_the_event_of_another_origin_stays(self, log):
        log.append(scale_out("a"))
        log.append(scale_out("b", origin="operator"))
        log.append(delete("c"), 1)
        assert log.entries.by_key[f"infra/operator/{DATE}"].scale_out is not None
        assert log.entries.by_key[f"infra/pa/{DATE}"].scale_out is None

    def test_asked_again_it_is_there_again_and_the_closed_window_is_kept(self, log):
        log.append(scale_out("a", 60, 120))
        log.append(delete("b"), 90)
        entry = log.append(scale_out("c", 60, 120, requested=91), 92)
        assert (entry.verdict.kind, entry.scale_out.request_id, len(entry.closed)) == (ACCEPTED, "c", 1)
        assert log.append(scale_in("d", requested=91), 93).deletion is None


REFUSED = [
    ("action", asked(RequestAction.UNKNOWN, "x")),
    ("request-id", scale_out("")),
    ("template", scale_out(title="{{workflow.name}}")),
    ("template", scale_out(description="a {{=expr}}")),
    ("template", scale_out(owner="{{")),
    ("template", scale_out("id-{{x}}")),
    ("template", scale_out(target="{{x}}")),
    ("control", scale_out(title="a\nb")),
    ("control", scale_out(title="a\x7fb")),
    ("control", scale_out(owner="a\u2028b")),
    ("control", scale_out(description="a\x00b")),
    ("control", scale_out("a\tb")),
    ("control", scale_out(date="2026-05-04\n")),
    ("too-long", scale_out(title="x" * 301)),
    ("too-long", scale_out("x" * 201)),
    ("too-long", scale_out(target="x" * 65)),
    ("target", scale_out(target="Infra")),
    ("target", scale_out(target="")),
    ("target", scale_out(target="x" * 31)),
    ("target", scale_out(target="infra-")),
    ("target", scale_out(target="a/b")),
    ("origin", scale_out(origin="PA")),
    ("origin", scale_out(origin="a-0123abcd")),
    ("origin", scale_out(origin="deadbeef")),
    ("day", scale_out(day="monday")),
    ("band", scale_out(band="early-night")),
    ("event-date", scale_out(date="tomorrow")),
    ("event-date", scale_out(date="2026-02-30")),
    ("event-date", scale_out(date="2026-05-04T09:00:30")),
    ("event-date", scale_out(date="2026-05-04T09:00Z")),
    ("event-date", scale_out(date="2026-05-04T09:00+09:00")),
    ("no-start", scale_out(start=None)),
    ("no-end", scale_in(end=None)),
    ("not-minutes", scale_out(start=60.5)),
    ("not-minutes", scale_in(end=60 + 0.001 / 60)),
    ("end-before-start", scale_out(start=60, end=60)),
    ("end-before-start", scale_out(start=60, end=59)),
    ("too-far", scale_out(start=365 * 24 * 60 + 1)),
    ("too-far", scale_out(start=60, end=365 * 24 * 60 + 1)),
    ("too-far", scale_in(end=365 * 24 * 60 + 1)),
    ("over", scale_out(start=-60, end=0)),
    ("over", scale_out(start=-24 * 60 - 1)),
]


class TestRejected:
    @pytest.mark.parametrize(("code", "request_"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
    def test_what_is_not_valid_is_rejected_with_a_reason(self, log, code, request_):
        verdict = log.verdict(request_)
        assert (verdict.kind, verdict.code) == (REJECTED, code)
        assert len(verdict.reason) > 10
        assert refusal(request_, at(0)) == (code, verdict.reason)

    @pytest.mark.parametrize(
        "request_",
        [
            scale_out(start=365 * 24 * 60),
            scale_out(start=-60, end=1),
            scale_out(start=-24 * 60),
            scale_in(end=-100),
            scale_out(description="two\nlines\tand a tab"),
            scale_out(title="{ single } braces and ünïcödé 세일 🎉"),
            scale_out(target="a", origin="krx-holidays"),
            delete(title="", owner=""),
        ],
    )
    def test_what_is_just_valid_is_not(self, log, request_):
        assert log.verdict(request_).kind in (ACCEPTED, WITHDRAWN)

    def test_an_offset_is_named_as_the_reason(self, log):
        assert "offset" in log.verdict(scale_out(date="2026-05-04T09:00+09:00")).reason

    def test_only_the_position_and_the_verdict_of_the_entry_change(self, log):
        before = log.append(scale_out("a"))
        after = log.append(scale_out("b", 60, 30), 1)
        assert after == replace(before, position=1, log_time=at(1), verdict=after.verdict)

    def test_a_rejected_id_may_come_again_mended(self, log):
        log.append(scale_out("a", 60, 30))
        assert log.verdict(scale_out("a", 60, 90)).kind is ACCEPTED

    def test_a_scale_out_that_is_over_is_taken_if_it_ends_an_open_window_of_this_entry(self, log):
        log.append(scale_out("a", 60, 120))
        assert log.verdict(scale_out("b", 60, 80), 90).kind is REPLACED
        assert log.verdict(scale_out("c", 60, 70), 91).kind is REJECTED, "it is not open any more"

    def test_one_without_an_end_that_started_over_a_day_ago_is_rejected_even_then(self, log):
        log.append(scale_out("a", 0))
        assert log.verdict(scale_out("b", 0, title="Renamed"), 24 * 60 + 1).kind is REJECTED
        assert log.verdict(scale_out("c", 0, title="Renamed"), 24 * 60).kind is REPLACED


class TestTaken:
    @pytest.mark.parametrize("action", [scale_out, scale_in])
    def test_an_event_with_another_owner_and_another_title_has_this_date(self, log, action):
        log.append(scale_out("a"))
        verdict = log.verdict(action("b", owner="joon", title="Other"))
        assert (verdict.kind, verdict.code) == (REJECTED, "taken")
        assert "Sale" in verdict.reason
        assert "mina" in verdict.reason

    @pytest.mark.parametrize("other", [{"owner": "joon"}, {"title": "Other"}, {"owner": "joon", "title": "Sale"}])
    def test_one_of_the_two_may_differ(self, log, other):
        log.append(scale_out("a"))
        assert log.verdict(scale_out("b", 90, **other)).kind is REPLACED

    def test_another_origin_or_another_minute_is_free(self, log):
        log.append(scale_out("a"))
        other = {"owner": "joon", "title": "Other"}
        assert log.verdict(scale_out("b", origin="operator", **other)).kind is ACCEPTED
        assert log.verdict(scale_out("c", date=f"{DATE}T09:00", **other)).kind is ACCEPTED

    def test_a_withdrawn_event_is_free(self, log):
        log.append(scale_out("a"))
        log.append(delete("b"))
        assert log.verdict(scale_out("c", requested=5, owner="joon", title="Other"), 6).kind is ACCEPTED

    def test_anybody_may_withdraw(self, log):
        log.append(scale_out("a"))
        assert log.verdict(delete("b", owner="joon", title="Other")).kind is WITHDRAWN


MONTH = 30 * 24 * 60


class TestDropping:
    def dropped(self, log, minute, **fields):
        log.append(scale_in(f"later-{minute}", minute + 60, date=f"2027-01-01T{log.end:02}:00", **fields), minute)
        return {key for key, entry in log.changes.items() if entry is None}

    def test_30_days_after_its_window_an_entry_is_dropped_by_a_later_request(self, log):
        key = log.append(scale_out("a", 60, 120)).key
        assert self.dropped(log, 120 + MONTH) == set()
        assert key in log.entries.by_key
        assert self.dropped(log, 120 + MONTH + 1) == {key}
        assert key not in log.entries.by_key

    def test_what_happened_to_it_later_counts_too(self, log):
        key = log.append(scale_out("a", 60, 120)).key
        log.append(scale_out("bad", 60, 30), 500)
        assert self.dropped(log, 500 + MONTH) == set()
        assert self.dropped(log, 501 + MONTH) == {key}

    def test_a_tombstone_is_dropped_too(self, log):
        log.append(scale_out("a", 60, 120))
        key = log.append(delete("b"), 90).key
        assert self.dropped(log, MONTH + 89) == set()
        assert self.dropped(log, MONTH + 91) == {key}

    def test_a_window_whose_end_is_not_known_is_never_dropped(self, log):
        key = log.append(scale_out("a", 60)).key
        assert self.dropped(log, 11 * MONTH) == set()
        assert key in log.entries.by_key

    def test_the_two_calls_of_an_event_with_different_dates_go_together(self, log):
        out = log.append(scale_out("a", 60)).key
        in_ = log.append(scale_in("b", 120, date="2026-05-05")).key
        assert self.dropped(log, 120 + MONTH) == set()
        assert self.dropped(log, 121 + MONTH) == {out, in_}, "or the window would open again"

    def test_they_go_when_the_later_of_them_is_old_enough(self, log):
        out = log.append(scale_out("a", 60)).key
        in_ = log.append(scale_in("b", 120, date="2026-05-05")).key
        log.append(scale_out("bad", 60, 30), 500)
        assert self.dropped(log, 121 + MONTH) == set()
        assert self.dropped(log, 501 + MONTH) == {out, in_}

    def test_a_scale_in_that_ends_nothing_goes_alone(self, log):
        log.append(scale_out("a", 60))
        early = log.append(scale_in("b", 50, date="2026-05-05")).key
        assert self.dropped(log, 121 + MONTH) == {early}

    def test_a_worker_that_was_rebuilt_drops_the_same_at_the_same_time(self, log):
        for number in range(6):
            log.append(scale_out(f"o{number}", 60 + number, date=f"2026-06-0{number + 1}"), number)
            log.append(scale_in(f"i{number}", 100 + 9 * number, date=f"2026-07-0{number + 1}"), 200 + 7 * number)
        for minute in range(MONTH, MONTH + 300, 20):
            rebuilt = Entries()
            for entry in reversed(log.entries.by_key.values()):
                rebuilt.restore(entry)
            self.dropped(log, minute)
            assert rebuilt.fold(*log.records[-1]) == log.changes
            assert rebuilt.by_key == log.entries.by_key
        assert len(log.entries.by_key) == 15, "all twelve went"

    def test_an_older_row_does_not_take_the_place_of_a_newer_one(self, log):
        old = log.append(scale_out("a"))
        new = log.append(scale_out("b", 90))
        assert log.entries.restore(old) == new
        assert log.entries.by_key[new.key] == new
        log.entries.drop(new.key)
        assert log.entries.by_key == {}


class TestCanonicalDates:
    @pytest.mark.parametrize(
        ("text", "canonical"),
        [
            ("2026-05-04", "2026-05-04"),
            ("20260504", "2026-05-04"),
            ("2026-05-04T09:00", "2026-05-04T09:00"),
            ("202605040900", "2026-05-04T09:00"),
            ("2026-05-04 09:00", "2026-05-04T09:00"),
            ("20260504T0900", "2026-05-04T09:00"),
            ("2026-05-04T09:00:00", "2026-05-04T09:00"),
            (" 2026-05-04 ", "2026-05-04"),
            ("0999-05-04", "0999-05-04"),
            ("2024-02-29", "2024-02-29"),
            ("2026-02-29", None),
            ("2026-13-01", None),
            ("2026-05-04T24:00", None),
            ("2026-0504", None),
            ("2026-05-04T09", None),
            ("2026-05-04T09:00Z", None),
            ("2026-05-04T09:00+0900", None),
            ("", None),
            ("4 May 2026", None),
        ],
    )
    def test_one_canonical_form(self, text, canonical):
        assert canonical_event_date(text) == canonical

    @pytest.mark.parametrize("text", ["2026-05-04T09:00", "202605040900", "2026-05-04 09:00"])
    def test_all_forms_are_one_event(self, log, text):
        log.append(scale_out("a", date="2026-05-04T09:00"))
        assert log.verdict(scale_out("b", date=text)).kind is DUPLICATE
        assert len(log.entries.by_key) == 1

    @given(st.dates(), st.none() | st.times())
    def test_every_writing_of_a_date_has_the_form_that_is_its_own_canonical_form(self, day, time):
        plain = day.isoformat() if time is None else f"{day.isoformat()}T{time:%H:%M}"
        squeezed = plain.replace("-", "").replace("T", "").replace(":", "")
        assert canonical_event_date(plain) == canonical_event_date(squeezed) == plain

    @given(st.text("0123456789-T: +Z", max_size=20) | st.text(max_size=20))
    def test_any_text_has_a_stable_form_or_none(self, text):
        canonical = canonical_event_date(text)
        if canonical is not None:
            assert canonical_event_date(canonical) == canonical
            assert date.fromisoformat(canonical[:10])


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001
def test_rounding_up_to_a_second_is_never_earlier_nor_a_second_later(instant):
    rounded = ceil_second(instant)
    assert rounded.microsecond == 0
    assert timedelta() <= rounded - instant < timedelta(seconds=1)
