"""A part of a target as if it were the whole: what ``desired`` and ``plan`` need to judge some entries by themselves.

What the plan of a closed part (``peaktime.core.parts``) says of it is what the whole target's plan says of it. What
depends on more belongs to the *present*: the window in force, the run that started last and all that was to fire
since, runs that go on or are not reported yet, and whatever an operator asked to be run again. Only a part that holds
the present can owe a run, and only the *wide* part, which also holds the coming days, speaks of what belongs to no
entry.

Pure: standard library, ``schemas.records`` and the core only. It picks, and decides nothing about what it picks.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from peaktime.core.actions import Circumstances, Observed, Plan
from peaktime.core.evidence import children, entry_of
from peaktime.core.outcomes import Facts, is_run, problem_subject, run_subject
from peaktime.core.parts import Parts
from peaktime.core.requests import Entries
from peaktime.core.validity import PAUSE_EVENT
from schemas.records import Entry, FactState

_SEEN_TO_END = frozenset({FactState.SUCCEEDED, FactState.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some entries of a target.

    Attributes:
        keys: theirs; closed. Keys of entries that are gone may be among them.
        present: whether the present is among them.
        wide: whether all of the coming days is, and what belongs to no entry.
    """

    keys: AbstractSet[str]
    present: bool = False
    wide: bool = False


def is_common(entry: Entry) -> bool:
    """Whether an entry bears on every other of its target: it says whether the target is paused."""
    return entry.pause is not None or entry.event_date == PAUSE_EVENT


def present(
    target: str,
    parts: Parts,
    reruns: Iterable[str],
    entries: Entries,
    facts: Facts,
    notable: Observed,
    now: datetime,
) -> set[str]:
    """The keys of the present; those of entries that are gone may be among them.

    Args:
        target: the target.
        parts: its entries by stretch.
        reruns: keys of the entries with a run that was asked for again.
        entries: its entries.
        facts: its facts.
        notable: every Workflow of the target, and every CronWorkflow that fired or is marked.
        now: the time (UTC).
    """
    keys = parts.around(now, now) | parts.before(now)
    about = [facts.last_begun, facts.by_subject.get(problem_subject("paused", target))]
    about += [facts.by_subject[subject] for subject in facts.going]
    for key in reruns:
        keys.add(key)
        rerun = entries.by_key[key].rerun
        about.append(facts.by_subject.get(run_subject(rerun.run)) if rerun is not None else None)
    keys |= {fact.outcome.entry for fact in about if fact is not None}
    last = facts.last_begun
    if last is not None and last.outcome.fires_at is not None:
        keys |= parts.around(last.outcome.fires_at, max(last.outcome.fires_at, now))
    for name, workflow in notable.workflows.items():
        fact = facts.by_subject.get(run_subject(name))
        if fact is None or fact.state not in _SEEN_TO_END:
            keys.add(entry_of(workflow))
    keys |= {entry_of(cron) for cron in notable.cron_workflows.values()}
    return parts.closed(keys - {""})


def coming(parts: Parts, at: Circumstances) -> set[str]:
    """The keys of all that is told of in a digest, and a day more for what the clock may be set by."""
    return parts.closed(parts.around(at.now, at.now + timedelta(days=at.digest_days + 1)))


def entries_of(part: Part, entries: Entries, common: Iterable[str]) -> Entries:
    """The entries of a part, at the target's position, with those that bear on every part."""
    keys = dict.fromkeys((*common, *sorted(part.keys)))
    return Entries(by_key={k: entries.by_key[k] for k in keys if k in entries.by_key}, position=entries.position)


def facts_of(part: Part, facts: Facts, notable: Observed) -> Facts:
    """The facts that a part is judged by.

    Args:
        part: the part.
        facts: the target's facts.
        notable: as for ``present``.
    """
    subjects = [subject for key in part.keys for subject in facts.of_entry(key)]
    nobodys = facts.of_entry("")
    subjects += nobodys if part.wide else [subject for subject in nobodys if is_run(facts.by_subject[subject])]
    if part.present:
        subjects += map(run_subject, notable.workflows)
        for name, cron in notable.cron_workflows.items():
            subjects += map(run_subject, children(name, cron))
    return Facts(
        by_subject={subject: facts.by_subject[subject] for subject in subjects if subject in facts.by_subject},
        last_begun=facts.last_begun if part.present else None,
    )


def circumstances_of(part: Part, at: Circumstances) -> Circumstances:
    """The circumstances without what is told once for the whole target, unless this is the wide part."""
    return at if part.wide else replace(at, digest_at=None, configuration={}, refusals={})


def of_part(plan: Plan, part: Part) -> tuple[Plan, bool]:
    """What a plan says of its part, and whether it says anything that only the wide part may say."""
    if part.wide:
        return plan, False
    reports = tuple(report for report in plan.reports if _speaks_of(part, report.entry, report.subject))
    problems = tuple(problem for problem in plan.problems if problem.entry in part.keys)
    loose = any(report.entry == "" for report in plan.reports if report not in reports)
    return replace(plan, reports=reports, problems=problems), loose


def _speaks_of(part: Part, entry: str, subject: str) -> bool:
    return entry in part.keys or (part.present and subject.startswith("run/"))
