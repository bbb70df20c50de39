"""What reports add up to: transitions of facts, and that reports which come again or late change nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.asking import at

from peaktime.core.outcomes import (
    BEGUN,
    Facts,
    expires_at,
    fold_outcome,
    is_run,
    problem_subject,
    report_id,
    run_subject,
    scales_out,
)
from schemas.records import FactState, Outcome, OutcomeKind, RequestAction

K, S = OutcomeKind, FactState
RUN = run_subject("peaktime-create-infra-common-common-20260504-1777860000")
PROBLEM = problem_subject("no-end", "infra/pa/2026-05-04")
RUN_KINDS = (K.SCHEDULED, K.STARTED, K.SUCCEEDED, K.FAILED, K.ENDED, K.MISSED, K.REMOVED)


def outcome(kind, fact=None, *, subject=RUN, minute=0.0, fires=60, **fields):
    values = {
        "outcome_id": report_id(subject, kind, fact),
        "target": "infra",
        "at": at(minute),
        "action": RequestAction.SCALE_OUT,
        "fires_at": at(fires) if is_run_subject(subject) else None,
        **fields,
    }
    return Outcome(kind=kind, subject=subject, **values)


def is_run_subject(subject):
    return subject.startswith("run/")


def after(*kinds, subject=RUN):
    """The fact after reports, each decided against the fact as it was."""
    fact = None
    for position, kind in enumerate(kinds):
        fact = fold_outcome(fact, outcome(kind, fact, subject=subject), position, at(position)) or fact
    return fact


class TestTransitions:
    @pytest.mark.parametrize(
        ("kinds", "state"),
        [
            ((K.SCHEDULED,), S.SCHEDULED),
            ((K.STARTED,), S.STARTED),
            ((K.SUCCEEDED,), S.SUCCEEDED),
            ((K.MISSED,), S.MISSED),
            ((K.SCHEDULED, K.STARTED, K.SUCCEEDED), S.SUCCEEDED),
            ((K.SCHEDULED, K.STARTED, K.FAILED), S.FAILED),
            ((K.SCHEDULED, K.STARTED, K.ENDED), S.ENDED),
            ((K.SCHEDULED, K.MISSED), S.MISSED),
            ((K.SCHEDULED, K.REMOVED), S.REMOVED),
            ((K.SCHEDULED, K.REMOVED, K.SCHEDULED), S.SCHEDULED),
            ((K.SCHEDULED, K.MISSED, K.SCHEDULED), S.SCHEDULED),
            ((K.SCHEDULED, K.MISSED, K.STARTED), S.STARTED),
            ((K.STARTED, K.ENDED, K.FAILED), S.FAILED),
            ((K.REMOVED,), None),
            ((K.STARTED, K.SCHEDULED), S.STARTED),
            ((K.STARTED, K.MISSED), S.STARTED),
            ((K.STARTED, K.REMOVED), S.STARTED),
            ((K.SUCCEEDED, K.STARTED), S.SUCCEEDED),
            ((K.SUCCEEDED, K.FAILED), S.SUCCEEDED),
            ((K.FAILED, K.SUCCEEDED), S.FAILED),
            ((K.FAILED, K.ENDED), S.FAILED),
            ((K.STARTED, K.UNKNOWN), S.STARTED),
        ],
    )
    def test_what_a_run_comes_to(self, kinds, state):
        fact = after(*kinds)
        assert (fact.state if fact else None) == state

    @pytest.mark.parametrize("first", RUN_KINDS)
    @pytest.mark.parametrize("second", RUN_KINDS)
    def test_a_run_that_has_begun_stays_begun(self, first, second):
        before, then = after(first), after(first, second)
        if before is not None and before.state in BEGUN:
            assert then.state in BEGUN

    def test_a_problem_opens_and_closes_and_opens_again_as_another_episode(self):
        facts = [after(*[K.PROBLEM_OPENED, K.PROBLEM_CLOSED, K.PROBLEM_OPENED][:n], subject=PROBLEM) for n in (1, 2, 3)]
        assert [(fact.state, fact.episode) for fact in facts] == [(S.OPEN, 1), (S.CLOSED, 1), (S.OPEN, 2)]
        assert after(K.PROBLEM_CLOSED, subject=PROBLEM) is None

    def test_scheduled_again_is_another_episode(self):
        assert after(K.SCHEDULED, K.REMOVED, K.SCHEDULED).episode == 2
        assert after(K.SCHEDULED, K.STARTED, K.SUCCEEDED).episode == 1

    def test_slow_is_said_once_and_only_of_a_run_that_goes_on(self):
        started = after(K.STARTED)
        slow = fold_outcome(started, outcome(K.SLOW), 1, at(1))
        assert (slow.slow, slow.state) == (True, S.STARTED)
        assert fold_outcome(slow, outcome(K.SLOW), 2, at(2)) is None
        assert fold_outcome(after(K.SUCCEEDED), outcome(K.SLOW), 3, at(3)) is None
        assert fold_outcome(None, outcome(K.SLOW), 3, at(3)) is None
        assert fold_outcome(slow, outcome(K.SUCCEEDED), 4, at(4)).slow

    @pytest.mark.parametrize("kind", [K.REMINDER, K.DIGEST, K.CALENDAR_STALE])
    def test_what_is_told_is_told_once(self, kind):
        fact = after(kind, subject="digest/2026-05-04")
        assert fact.state is S.TOLD
        assert fold_outcome(fact, outcome(kind, subject=fact.subject), 9, at(9)) is None

    def test_a_configuration_counts_when_it_is_another(self):
        one = fold_outcome(None, outcome(K.CONFIGURED, subject="configuration", details={"a": "1"}), 0, at(0))
        again = outcome(K.CONFIGURED, subject="configuration", details={"a": "1"})
        assert fold_outcome(one, again, 1, at(1)) is None
        other = fold_outcome(one, replace(again, details={"a": "2"}), 1, at(1))
        assert (other.state, other.episode) == (S.TOLD, 2)

    def test_a_fact_says_when_its_run_was_scheduled_started_and_over(self):
        facts = Facts()
        facts.fold(outcome(K.SCHEDULED, minute=1), 0, at(1))
        facts.fold(outcome(K.STARTED, minute=60, started_at=at(60)), 1, at(60.5))
        facts.fold(outcome(K.SUCCEEDED, minute=63, finished_at=at(62)), 2, at(63))
        fact = facts.by_subject[RUN]
        assert (fact.scheduled_at, fact.started_at, fact.finished_at) == (at(1), at(60), at(62))
        assert is_run(fact)
        assert scales_out(fact)


class TestComingAgain:
    def test_a_record_at_or_below_the_facts_position_changes_nothing(self):
        fact = after(K.SCHEDULED, K.STARTED)
        for position in (0, 1):
            assert fold_outcome(fact, outcome(K.SUCCEEDED), position, at(5)) is None

    @pytest.mark.parametrize(
        "kinds",
        [
            (K.SCHEDULED, K.REMOVED, K.SCHEDULED, K.STARTED),
            (K.SCHEDULED, K.MISSED, K.SCHEDULED),
            (K.SCHEDULED, K.REMOVED, K.SCHEDULED, K.REMOVED),
        ],
    )
    def test_a_worker_that_was_held_up_turns_nothing_back(self, kinds):
        facts, sent = Facts(), []
        for position, kind in enumerate(kinds):
            sent.append(outcome(kind, facts.by_subject.get(RUN)))
            facts.fold(sent[-1], position, at(position))
        before = facts.by_subject[RUN]
        for position, old in enumerate(sent, start=len(kinds)):
            assert facts.fold(old, position, at(position)) == {}
        assert facts.by_subject[RUN] == before

    def test_a_report_that_is_repeated_has_the_same_id_until_the_fact_has_changed(self):
        before, then = after(K.SCHEDULED), after(K.SCHEDULED, K.REMOVED)
        assert report_id(RUN, K.SCHEDULED, before) == report_id(RUN, K.SCHEDULED, before)
        assert report_id(RUN, K.SCHEDULED, before) != report_id(RUN, K.SCHEDULED, then)
        assert report_id(RUN, K.SCHEDULED, None) != report_id(RUN, K.STARTED, None)

    @given(st.data())
    def test_reports_that_come_again_in_any_order_give_the_same_facts(self, data):
        """Each report is decided against the fact as it is; copies of it come any number of times, any time later."""
        subjects = [RUN, f"{RUN}1", PROBLEM]
        once, often, sent, position = Facts(), Facts(), [], 0
        for _ in range(data.draw(st.integers(1, 10))):
            subject = data.draw(st.sampled_from(subjects))
            kinds = (K.PROBLEM_OPENED, K.PROBLEM_CLOSED) if subject == PROBLEM else (*RUN_KINDS, K.SLOW)
            report = outcome(data.draw(st.sampled_from(kinds)), often.by_subject.get(subject), subject=subject)
            if not once.fold(report, position, at(position)):
                continue  # nobody reports what the facts do not call for
            often.fold(report, position, at(position))
            sent.append(report)
            position += 1
            for copy in data.draw(st.lists(st.sampled_from(sent), max_size=3)):
                often.fold(copy, position, at(position))
                position += 1
        assert states(often) == states(once)

    @given(st.permutations([K.STARTED, K.SUCCEEDED, K.STARTED, K.SUCCEEDED, K.SLOW, K.ENDED]))
    def test_what_was_seen_comes_to_the_same_in_any_order(self, kinds):
        assert after(*kinds).state is S.SUCCEEDED


def states(facts):
    return {subject: (fact.state, fact.episode, fact.slow) for subject, fact in facts.by_subject.items()}


class TestLastBegun:
    def fold(self, facts, position, name, fires, kind=K.STARTED, **fields):
        subject = run_subject(name)
        facts.fold(
            outcome(kind, facts.by_subject.get(subject), subject=subject, fires=fires, **fields),
            position,
            at(0),
        )

    def test_it_is_the_run_with_the_latest_firing_instant_whatever_was_reported_last(self):
        facts = Facts()
        self.fold(facts, 0, "late", 120)
        self.fold(facts, 1, "early", 60)
        self.fold(facts, 2, "scheduled", 180, K.SCHEDULED)
        assert facts.last_begun.subject == "run/late"
        self.fold(facts, 3, "late", 120, K.FAILED)
        assert facts.last_begun.state is S.FAILED, "a failed run counts as started"

    @given(st.permutations(["a-1", "b-1", "c-1"]))
    def test_of_two_at_one_instant_it_is_the_same_in_whatever_order_they_come(self, names):
        facts = Facts()
        for position, name in enumerate(names):
            self.fold(facts, position, name, 60)
        assert facts.last_begun.subject == "run/c-1"
        rebuilt = Facts()
        for fact in facts.by_subject.values():
            rebuilt.restore(fact)
        assert rebuilt.last_begun == facts.last_begun

    def test_it_is_never_dropped_however_old(self):
        facts = Facts()
        self.fold(facts, 0, "older", 30, K.SUCCEEDED)
        self.fold(facts, 1, "last", 60, K.SUCCEEDED)
        self.fold(facts, 2, "scheduled", 90, K.SCHEDULED)
        days = timedelta(days=400)
        report = outcome(K.PROBLEM_OPENED, subject=PROBLEM)
        dropped = facts.fold(report, 3, at(0) + days)
        assert {s for s, fact in dropped.items() if fact is None} == {"run/older", "run/scheduled"}
        assert facts.last_begun.subject == "run/last"
        self.fold(facts, 4, "newer", 700_000)
        dropped = facts.fold(outcome(K.PROBLEM_CLOSED, facts.by_subject[PROBLEM], subject=PROBLEM), 5, at(0) + days)
        assert dropped["run/last"] is None, "now another one is the last"

    def test_what_goes_on_and_what_is_open_is_never_dropped(self):
        assert expires_at(after(K.STARTED)) is None
        assert expires_at(after(K.PROBLEM_OPENED, subject=PROBLEM)) is None
        assert expires_at(after(K.SUCCEEDED)) == at(60) + timedelta(days=30), "60 is when it fired"
        assert expires_at(after(K.PROBLEM_OPENED, K.PROBLEM_CLOSED, subject=PROBLEM)) == at(1) + timedelta(days=30)

    def test_an_older_row_does_not_take_the_place_of_a_newer_one(self):
        facts = Facts()
        old, new = after(K.SCHEDULED), after(K.SCHEDULED, K.STARTED)
        assert facts.restore(new) is None
        assert facts.restore(old) == new
        assert facts.by_subject[RUN] == new
        facts.drop(RUN)
        assert facts.by_subject == {}
