"""What the cluster should hold for a target: its runs, as CronWorkflows, what is owed, and what stands in the way.

Pure: standard library, ``schemas.records`` and the core only. What is there already is ``plan``'s question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from peaktime.core.actions import Problem
from peaktime.core.capacity import Firing, Timeline, timeline
from peaktime.core.outcomes import BEGUN, OVER, Facts, is_run, problem_subject, run_subject, scales_out
from peaktime.core.profiles import Profiles
from peaktime.core.requests import Entries
from peaktime.core.runs import (
    ACTION,
    API_VERSION,
    BAND,
    CRON_WORKFLOW,
    DAY,
    ENTRY,
    FIRES_AT,
    LEVEL,
    LONGEST_NAME,
    MANAGED_BY,
    OURS,
    OWNER,
    POSITION,
    REQUEST,
    SCHEDULED_TIME,
    SPEC_HASH,
    TARGET,
    TITLE,
    VERBS,
    Manifest,
    Run,
    cron_name,
    cron_workflow,
    fitted,
    labels,
    schedule,
    spec_hash,
    workflow,
    workflow_spec,
)
from peaktime.core.validity import OPERATOR, PAUSE_EVENT
from peaktime.core.windows import stated_end
from schemas.records import Action, Entry, Fact, FactState, Pause, entry_key

__all__ = [
    "ACTION",
    "API_VERSION",
    "BAND",
    "CRON_WORKFLOW",
    "DAY",
    "ENTRY",
    "FIRES_AT",
    "LEVEL",
    "LONGEST_NAME",
    "MANAGED_BY",
    "OURS",
    "OWNER",
    "POSITION",
    "REQUEST",
    "SCHEDULED_TIME",
    "SPEC_HASH",
    "TARGET",
    "TITLE",
    "VERBS",
    "Desired",
    "Manifest",
    "Problem",
    "Run",
    "begun_instants",
    "cron_name",
    "cron_workflow",
    "desired",
    "fitted",
    "labels",
    "run_of",
    "schedule",
    "spec_hash",
    "unknown_profile",
    "workflow",
    "workflow_spec",
]

#: A cron line has no year, and in a zone with daylight saving 365 days may be more than the year to the same hour.
FURTHEST_AHEAD = timedelta(days=364)


#: The problem of a RERUN that cannot be carried out, and how long it is shown.
NO_RERUN = "no-rerun"
RERUN_TOLD_FOR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What should be, for one target at one instant.

    Attributes:
        target: the target.
        position: its folded position.
        timeline: what its entries add up to.
        runs: by CronWorkflow name, the runs that should have one: those to come, those begun or just due, and the one
            that is owed.
        problems: what entries, facts and profiles alone show.
        owed: the run that should have led to what is wanted now, if the last one that started did not.
        again: the run that an operator wants once more, if it leads to what is wanted now and has not begun.
        pause: why nothing of the target is to run, None if it is not paused.
    """

    target: str
    position: int
    timeline: Timeline
    runs: Mapping[str, Run]
    problems: tuple[Problem, ...]
    owed: Run | None = None
    again: Run | None = None
    pause: Pause | None = None


def desired(
    target: str,
    entries: Entries,
    facts: Facts,
    profiles: Profiles,
    now: datetime,
    *,
    grace: timedelta,
) -> Desired:
    """The runs that should be in the cluster now, and the problems that need no look at the cluster.

    Args:
        target: the target.
        entries: its entries, folded.
        facts: its facts, folded.
        profiles: the configuration in force.
        now: the time (UTC).
        grace: how long a firing that is due may take to show.
    """
    problems: list[Problem] = []

    def level_of(entry: Entry, action: Action) -> int | None:
        profile = profiles.find(entry.target, action.day, action.band)
        if profile is None:
            end = stated_end(entry)
            if action is entry.scale_out and (end is None or end[0] > now):
                problems.append(unknown_profile(entry, action))
            return None
        return profile.scale_out.level

    line = timeline(entries.by_key.values(), level_of)
    begun = begun_instants(facts)
    runs: dict[str, Run] = {}
    for firing in line.firings:
        run = run_of(firing, entries, profiles, begun)
        if run is None:
            if firing.instant > now:
                problems.append(unknown_profile(entries.by_key[firing.entry], firing.by))
        elif _wanted(run, facts, now, grace):
            runs[run.name] = run
    problems += [
        Problem(code=oddity.code, about=oddity.entry, message=oddity.message, entry=oddity.entry)
        for oddity in line.oddities
        if oddity.since <= now
    ]
    owed, problem = _owed(line, entries, facts, profiles, begun, now)
    if owed is not None:
        runs.setdefault(owed.name, owed)
    if problem is not None:
        problems.append(problem)
    again, problem = _again(line, entries, facts, profiles, begun, now)
    if problem is not None:
        problems.append(problem)
    pause = entries.by_key.get(entry_key(target, OPERATOR, PAUSE_EVENT))
    return Desired(
        target=target,
        position=entries.position,
        timeline=line,
        runs=runs,
        problems=tuple({(problem.code, problem.about): problem for problem in problems}.values()),
        owed=owed,
        again=again,
        pause=pause.pause if pause is not None else None,
    )


def _wanted(run: Run, facts: Facts, now: datetime, grace: timedelta) -> bool:
    """Whether a run's CronWorkflow should be there: it is to come, just due, or going on."""
    fact = facts.by_subject.get(run.subject)
    if run.instant > now:
        if run.instant - now > FURTHEST_AHEAD:
            return False
        # Only a whole minute can be written as a cron field; anything else is started by name when it is owed.
        return run.instant.second == 0 and (
            fact is None or fact.state not in OVER or fact.state in (FactState.REMOVED, FactState.MISSED)
        )
    if fact is not None and fact.state in OVER:
        return False
    if fact is not None and fact.state is FactState.STARTED:
        return True
    return now < max(run.instant, run.firing.since) + grace


def _owed(
    line: Timeline,
    entries: Entries,
    facts: Facts,
    profiles: Profiles,
    begun: Mapping[str, set[datetime]],
    now: datetime,
) -> tuple[Run | None, Problem | None]:
    """The run that is owed now, or the problem that keeps it from being known; mostly neither."""
    last = facts.last_begun
    ran_at = last.outcome.fires_at if last is not None else None
    force = line.in_force(now)
    firing = force
    if firing is None:
        if last is None or ran_at is None or not scales_out(last):
            return None, None
        firing, problem = _scale_in_after(last, ran_at, line, entries, now)
        if firing is None:
            return None, problem
    if ran_at is not None and firing.instant <= ran_at:
        firing = replace(firing, instant=ran_at + timedelta(seconds=1))
    run = run_of(firing, entries, profiles, begun)
    if run is None:
        return None, unknown_profile(entries.by_key[firing.entry], firing.by)
    led_there = last is not None and scales_out(last) and last.outcome.level == run.way.level
    return (None, None) if force is not None and led_there else (run, None)


def _scale_in_after(
    last: Fact,
    ran_at: datetime,
    line: Timeline,
    entries: Entries,
    now: datetime,
) -> tuple[Firing | None, Problem | None]:
    """The scale-in that should have followed the last run, a scale-out, now that no window is open; or a problem.

    It is the one of the run's stretch; if that asked for none, the last firing since, if it is a scale-in.
    """
    about = last.outcome.entry
    stretch = line.stretch_of(ran_at, about)
    if stretch is not None and (stretch.ends_at is None or stretch.ends_at > now):
        return None, None  # by a clock that is behind, the run has fired before its time
    if stretch is not None and stretch.scale_in is not None:
        return stretch.scale_in, None
    since = line.last_scale_in(now)
    if since is not None and since.instant > ran_at:
        return since, None
    if stretch is None:
        if about not in entries.by_key:
            return None, None
        message = f"'{last.outcome.title}' has scaled out and was then taken back or moved; ask for its scale-in"
        return None, Problem(code="no-scale-in", about=about, message=message, entry=about)
    if not stretch.cut:
        return None, None
    message = "its window was closed while open and nobody asked for a scale-in; ask for one"
    return None, Problem(code="no-scale-in", about=about, message=message, entry=about)


def _again(
    line: Timeline,
    entries: Entries,
    facts: Facts,
    profiles: Profiles,
    begun: Mapping[str, set[datetime]],
    now: datetime,
) -> tuple[Run | None, Problem | None]:
    """The run of the last RERUN that has not begun, or why it cannot; mostly neither.

    Only what is wanted now is run again: anything else would be put right by the next look. It fires one second after
    the target's last run, so that its name follows from the log alone, and one wish can never become two runs.
    """
    asked = [(e.rerun.position, e, e.rerun) for e in entries.by_key.values() if e.rerun is not None]
    if not asked:
        return None, None
    _, entry, rerun = max(asked, key=lambda one: one[0])
    known = facts.by_subject.get(run_subject(rerun.run))
    last = facts.last_begun
    runs = (fact for fact in facts.by_subject.values() if is_run(fact) and fact.state in BEGUN)
    if any(run.outcome.request_id == rerun.request_id for run in runs):
        return None, None
    refused = facts.by_subject.get(problem_subject(NO_RERUN, rerun.request_id))
    if refused is not None:
        # For good: what is wanted later is started for its own sake, and not once more for an old wish.
        if refused.state is not FactState.OPEN or now - refused.outcome.at >= RERUN_TOLD_FOR:
            return None, None
        message = refused.outcome.message
        return None, Problem(code=NO_RERUN, about=rerun.request_id, message=message, entry=entry.key)
    firing = line.in_force(now) or line.last_scale_in(now)
    if known is None or known.state not in BEGUN or last is None or last.outcome.fires_at is None:
        why = "no such run is known to have begun"
    elif firing is None or (firing.entry, firing.action) != (known.outcome.entry, known.outcome.action):
        why = "it does not lead to what is wanted now, so it would be undone at once; ask for an event instead"
    else:
        by = replace(firing.by, request_id=rerun.request_id)
        instant = last.outcome.fires_at + timedelta(seconds=1)
        reason = f"{rerun.owner} asks for it again: {rerun.why}"
        again = replace(firing, instant=instant, by=by, since=rerun.changed_at, why=reason)
        run = run_of(again, entries, profiles, begun)
        return (run, None) if run is not None else (None, unknown_profile(entry, firing.by))
    message = f"{rerun.run} is not run again as {rerun.owner} asks: {why}"
    return None, Problem(code=NO_RERUN, about=rerun.request_id, message=message, entry=entry.key)


def unknown_profile(entry: Entry, action: Action) -> Problem:
    """The problem of an action whose profile is not configured."""
    name = f"{entry.target}-{action.day}-{action.band}"
    return Problem(
        code="unknown-profile",
        about=f"{entry.key}/{name}",
        message=f"no profile {name} is configured, so '{action.title}' cannot be scaled; add it to the profiles",
        entry=entry.key,
    )


def begun_instants(facts: Facts) -> dict[str, set[datetime]]:
    """By CronWorkflow name, the instants at which it fired."""
    begun: dict[str, set[datetime]] = {}
    for fact in facts.by_subject.values():
        if fact.state in BEGUN and fact.outcome.fires_at is not None:
            begun.setdefault(fact.outcome.cron_workflow, set()).add(fact.outcome.fires_at)
    return begun


def run_of(firing: Firing, entries: Entries, profiles: Profiles, begun: Mapping[str, set[datetime]]) -> Run | None:
    """The run of a firing; None if its profile is not configured."""
    entry = entries.by_key[firing.entry]
    profile = profiles.find(entry.target, firing.by.day, firing.by.band)
    if profile is None:
        return None
    return Run(name=cron_name(firing, entry, begun), firing=firing, entry=entry, profile=profile)
