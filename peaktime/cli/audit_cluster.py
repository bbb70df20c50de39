"""The cluster's part of ``peaktime audit verify``: its CronWorkflows against what the refolded log wants.

For: ``audit verify``, which imports it only when the cluster is asked for. The cluster is held through a port that
cannot write. Must not: write anywhere.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

from peaktime import logs
from peaktime.cli.looking import clock_of
from peaktime.core.outcomes import Facts
from peaktime.core.profiles import Profiles
from peaktime.core.requests import Entries
from peaktime.errors import ClusterError
from peaktime.metrics import Metrics
from peaktime.profiles import load_profiles
from peaktime.settings import Settings
from processors.app import circumstances_of, cluster_of
from processors.reconcile.cluster import UnconfiguredError
from processors.reconcile.preview import ReadOnly, preview
from processors.replay.findings import Report
from processors.replay.objects import ClusterResult, judged

#: What a running worker is just about to put right is no difference: it has this long (s).
SETTLE = 5.0
_AGAIN = 0.5
_LEAVE_OUT = "or leave the cluster out with --no-cluster"


def compare_cluster(settings: Settings, report: Report) -> None:
    """Compare the cluster of the settings with what a replay of the whole log gave; the report holds what came of it.

    Where no cluster is configured, as on an auditor's machine, the report says that it was left out.

    Args:
        settings: whose cluster, namespace, profiles, clock and grace count.
        report: of the replay.

    Raises:
        ClusterError: the cluster cannot be looked at.
        ProfilesError: the profiles are wrong.
    """
    logs.configure(settings)
    profiles = load_profiles(settings.profiles)
    kind, _, path = settings.cluster.partition(":")
    if kind == "directory" and not Path(path).is_dir():
        raise ClusterError(f"directory {path}", "is not there", f"Check PEAKTIME_CLUSTER, {_LEAVE_OUT}")
    try:
        report.cluster = asyncio.run(_compared(settings, profiles, report))
    except UnconfiguredError as error:
        report.cluster_left_out = f"{error.reason}. {error.remedy}"
    except ClusterError as error:
        remedy = f"{error.remedy}, {_LEAVE_OUT}" if error.remedy else f"Mend that, {_LEAVE_OUT}"
        raise ClusterError(error.thing, error.reason, remedy) from error


async def _compared(settings: Settings, profiles: Profiles, report: Report) -> ClusterResult:
    entries: dict[str, Entries] = {}
    facts: dict[str, Facts] = {}
    for entry in report.entries.values():
        entries.setdefault(entry.target, Entries()).restore(entry)
    for fact in report.facts.values():
        facts.setdefault(fact.target, Facts()).restore(fact)
    clock, cluster = clock_of(settings), ReadOnly(cluster_of(settings, profiles, Metrics()))
    # What is told, and what must be ready, is no matter of the cluster's objects.
    plain = replace(circumstances_of(settings, "audit"), ready_before=None, remind_before=None, digest_at=None)

    async def of(target: str) -> ClusterResult:
        at = replace(plain, now=clock.now())
        found = await preview(
            target, entries.get(target, Entries()), facts.get(target, Facts()), profiles, at, cluster
        )  # fmt: skip
        return judged(found.plan, found.want, found.seen, waiting=target in report.behind)

    async with cluster.opened():
        results = {target: await of(target) for target in sorted({*entries, *cluster.targets()})}
        deadline = time.monotonic() + SETTLE
        while (odd := [target for target, one in results.items() if not one.same]) and time.monotonic() < deadline:
            await asyncio.sleep(_AGAIN)
            for target in odd:
                results[target] = await of(target)
    whole = ClusterResult()
    for one in results.values():
        whole.take(one)
    return whole
