"""How much this worker holds, as metrics: rows, runs that are yet to fire, and problems that are open.

Counted anew now and then rather than kept up with each change. It decides nothing.
"""

from __future__ import annotations

from collections import Counter

from peaktime.core.outcomes import is_run
from peaktime.metrics import Metrics
from processors.fold.rows import EntryRows, FactRows
from schemas.records import FactState


def count(entries: EntryRows, facts: FactRows, metrics: Metrics) -> None:
    """Set the gauges to what the tables hold now.

    Args:
        entries: the entries of this worker's partitions.
        facts: the facts of them.
        metrics: where to show it.
    """
    held = [facts.get(*place).by_subject for place in facts.targets()]
    all_facts = [fact for by_subject in held for fact in by_subject.values()]
    metrics.table_rows.labels(table="entries").set(sum(len(entries.get(*p).by_key) for p in entries.targets()))
    metrics.table_rows.labels(table="facts").set(len(all_facts))
    metrics.scheduled.set(sum(is_run(fact) and fact.state is FactState.SCHEDULED for fact in all_facts))
    # Problems alone are open or closed. A code whose last one was closed stays as a zero, so that an alert sees it end.
    counted = Counter({fact.outcome.code: 0 for fact in all_facts if fact.state is FactState.CLOSED})
    counted.update(fact.outcome.code for fact in all_facts if fact.state is FactState.OPEN)
    metrics.problems_open.clear()
    for code, number in counted.items():
        metrics.problems_open.labels(code=code).set(number)
