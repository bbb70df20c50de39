"""What reports add up to: the fold of ``outcomes.v1`` into facts.

Pure: standard library and ``schemas.records`` only; no clock, no configuration. A report that says nothing new changes
nothing, so whoever reports may repeat itself until the fact shows it.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from schemas.records import Fact, FactState, Outcome, OutcomeKind, RequestAction

#: Version of these rules; a fact says by which it was decided.
RULES = 1
#: Facts are dropped this long after they are over, by log time.
KEPT_FOR = timedelta(days=30)

#: A run that is over: it is not wanted in the cluster any more.
OVER = frozenset({FactState.SUCCEEDED, FactState.FAILED, FactState.ENDED, FactState.MISSED, FactState.REMOVED})
#: A run that started, whatever became of it.
BEGUN = frozenset({FactState.STARTED, FactState.SUCCEEDED, FactState.FAILED, FactState.ENDED})

_FROM: dict[OutcomeKind, tuple[FactState, frozenset[FactState | None]]] = {
    OutcomeKind.SCHEDULED: (FactState.SCHEDULED, frozenset({None, FactState.MISSED, FactState.REMOVED})),
    OutcomeKind.STARTED: (
        FactState.STARTED,
        frozenset({None, FactState.SCHEDULED, FactState.MISSED, FactState.REMOVED}),
    ),
    OutcomeKind.SUCCEEDED: (
        FactState.SUCCEEDED,
        frozenset({*FactState} - OVER | {None, FactState.ENDED, FactState.MISSED, FactState.REMOVED}),
    ),
    OutcomeKind.FAILED: (
        FactState.FAILED,
        frozenset({*FactState} - OVER | {None, FactState.ENDED, FactState.MISSED, FactState.REMOVED}),
    ),
    OutcomeKind.ENDED: (FactState.ENDED, frozenset({None, FactState.SCHEDULED, FactState.STARTED})),
    OutcomeKind.MISSED: (FactState.MISSED, frozenset({None, FactState.SCHEDULED})),
    OutcomeKind.REMOVED: (FactState.REMOVED, frozenset({FactState.SCHEDULED})),
    OutcomeKind.PROBLEM_OPENED: (FactState.OPEN, frozenset({None, FactState.CLOSED})),
    OutcomeKind.PROBLEM_CLOSED: (FactState.CLOSED, frozenset({FactState.OPEN})),
    OutcomeKind.REMINDER: (FactState.TOLD, frozenset({None})),
    OutcomeKind.DIGEST: (FactState.TOLD, frozenset({None})),
    OutcomeKind.CALENDAR_STALE: (FactState.TOLD, frozenset({None})),
}


#: Reports that follow from comparing with the fact. One decided against an older fact comes from a worker that was held
#: up, or came twice; it must not turn back what has happened since.
_COMPARED = frozenset(
    {
        OutcomeKind.SCHEDULED,
        OutcomeKind.MISSED,
        OutcomeKind.REMOVED,
        OutcomeKind.PROBLEM_OPENED,
        OutcomeKind.PROBLEM_CLOSED,
    },
)


def report_id(subject: str, kind: OutcomeKind, fact: Fact | None, identity: str = "") -> str:
    """The id of a report: the same however often it is sent, another once the fact has changed.

    Args:
        subject: what it is about.
        kind: what it says.
        fact: the fact that it was decided against.
        identity: what else tells it from another.
    """
    whole = f"{subject}/{kind}/{fact.position if fact is not None else -1}{identity and '/'}{identity}"
    return hashlib.sha256(whole.encode()).hexdigest()[:32]


def run_subject(workflow: str) -> str:
    """The subject of a run: ``run/<cronworkflow>-<unix seconds>``, which is also its Workflow's name."""
    return f"run/{workflow}"


def problem_subject(code: str, about: str) -> str:
    """The subject of a problem."""
    return f"problem/{code}/{about}"


def fold_outcome(fact: Fact | None, outcome: Outcome, position: int, log_time: datetime) -> Fact | None:
    """The fact after a report, or None if the report says nothing new (or came again).

    Args:
        fact: the fact of the outcome's subject so far.
        outcome: as it was read.
        position: its offset in the target's partition.
        log_time: its time on the log (UTC).
    """
    if fact is not None and position <= fact.position:
        return None
    base = fact or Fact(
        subject=outcome.subject,
        target=outcome.target,
        position=position,
        log_time=log_time,
        outcome=outcome,
    )
    base = replace(base, position=position, log_time=log_time, rules=RULES, outcome=outcome)
    before = fact.state if fact is not None else None
    if outcome.kind is OutcomeKind.SLOW:
        if fact is None or fact.state is not FactState.STARTED or fact.slow:
            return None
        return replace(base, slow=True)
    if outcome.kind is OutcomeKind.CONFIGURED:
        if fact is not None and fact.outcome.details == outcome.details:
            return None
        return replace(base, state=FactState.TOLD, episode=fact.episode + 1 if fact is not None else 1)
    rule = _FROM.get(outcome.kind)
    if rule is None or before not in rule[1]:
        return None
    compared = fact is not None and outcome.kind in _COMPARED
    if compared and outcome.outcome_id != report_id(outcome.subject, outcome.kind, fact):
        return None
    again = fact is not None and (
        (rule[0] is FactState.SCHEDULED and before in OVER)
        or (rule[0] is FactState.OPEN and before is FactState.CLOSED)
    )
    return replace(
        base,
        state=rule[0],
        episode=base.episode + 1 if again else base.episode,
        scheduled_at=outcome.at if rule[0] is FactState.SCHEDULED else base.scheduled_at,
        started_at=(outcome.started_at or outcome.at)
        if rule[0] is FactState.STARTED
        else (base.started_at or outcome.started_at),
        finished_at=(outcome.finished_at or outcome.at) if rule[0] in OVER else None,
        slow=base.slow,
    )


def is_run(fact: Fact) -> bool:
    """Whether the fact is about a run."""
    return fact.subject.startswith("run/")


def expires_at(fact: Fact) -> datetime | None:
    """When the fact may be dropped, by log time; None while it is not over."""
    if fact.state in (FactState.OPEN, FactState.STARTED) or fact.outcome.kind is OutcomeKind.CONFIGURED:
        return None
    return max(fact.log_time, fact.outcome.fires_at or fact.log_time) + KEPT_FOR


@dataclass(slots=True)
class Facts:
    """The facts of one target: the fold's state, with old ones dropped while a later report is folded.

    Attributes:
        by_subject: the facts by their subject.
        last_begun: the run of the target that started last, by firing instant; it is never dropped.
        going: the subjects of the runs that go on.
    """

    by_subject: dict[str, Fact] = field(default_factory=dict)
    last_begun: Fact | None = None
    going: set[str] = field(default_factory=set)
    _expiries: list[tuple[datetime, str]] = field(default_factory=list)
    _of_entry: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def position(self) -> int:
        """The highest position that changed a fact that is known, -1 for none."""
        return max((fact.position for fact in self.by_subject.values()), default=-1)

    def restore(self, fact: Fact) -> Fact | None:
        """Take a fact from the log of facts; if a later one is here already, that one."""
        known = self.by_subject.get(fact.subject)
        if known is not None and known.position > fact.position:
            return known
        self._put(fact)
        return None

    def drop(self, subject: str) -> None:
        """Forget a fact."""
        fact = self.by_subject.pop(subject, None)
        if fact is not None:
            self._leave(fact)

    def of_entry(self, entry: str) -> tuple[str, ...]:
        """The subjects of the facts about an entry; about none for the empty key."""
        return self._of_entry.get(entry, ())

    def entries(self) -> AbstractSet[str]:
        """The keys of the entries that there are facts about."""
        return self._of_entry.keys()

    def fold(self, outcome: Outcome, position: int, log_time: datetime) -> dict[str, Fact | None]:
        """Fold one report; what changed by subject, None for a fact that was dropped. Empty if it says nothing new."""
        fact = fold_outcome(self.by_subject.get(outcome.subject), outcome, position, log_time)
        if fact is None:
            return {}
        self._put(fact)
        changes: dict[str, Fact | None] = dict.fromkeys(self._expired(log_time, fact.subject))
        changes[fact.subject] = fact
        return changes

    def _put(self, fact: Fact) -> None:
        before = self.by_subject.get(fact.subject)
        if before is not None and before.outcome.entry != fact.outcome.entry:
            self._leave(before)
            before = None
        if before is None:
            entry = fact.outcome.entry
            self._of_entry[entry] = (*self._of_entry.get(entry, ()), fact.subject)
        self.by_subject[fact.subject] = fact
        if is_run(fact) and fact.state is FactState.STARTED:
            self.going.add(fact.subject)
        else:
            self.going.discard(fact.subject)
        if is_run(fact) and fact.state in BEGUN and _later(fact, self.last_begun):
            self.last_begun = fact
        expiry = expires_at(fact)
        if expiry is not None:
            heapq.heappush(self._expiries, (expiry, fact.subject))

    def _leave(self, fact: Fact) -> None:
        """Take a fact that is gone out of what is noted beside it."""
        self.going.discard(fact.subject)
        entry = fact.outcome.entry
        left = tuple(subject for subject in self._of_entry.get(entry, ()) if subject != fact.subject)
        if left:
            self._of_entry[entry] = left
        else:
            self._of_entry.pop(entry, None)

    def _expired(self, log_time: datetime, current: str) -> list[str]:
        dropped = []
        kept = []
        while self._expiries and self._expiries[0][0] < log_time:
            expiry, subject = heapq.heappop(self._expiries)
            fact = self.by_subject.get(subject)
            if fact is None or subject == current or expires_at(fact) != expiry:
                continue
            if self.last_begun is not None and subject == self.last_begun.subject:
                kept.append((expiry, subject))
                continue
            self.drop(subject)
            dropped.append(subject)
        for item in kept:
            heapq.heappush(self._expiries, item)
        return dropped


def _later(fact: Fact, other: Fact | None) -> bool:
    if other is None or other.subject == fact.subject:
        return True
    return (_instant(fact), fact.subject) > (_instant(other), other.subject)


def _instant(fact: Fact) -> datetime:
    return fact.outcome.fires_at or fact.started_at or datetime.min.replace(tzinfo=UTC)


def scales_out(fact: Fact) -> bool:
    """Whether the run was a scale-out."""
    return fact.outcome.action is RequestAction.SCALE_OUT
