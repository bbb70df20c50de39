"""Applying a plan: its writes, in their order, with manners towards the API server.

Must not: decide what to write, or when to look again at a target; it says only after how long that would make sense.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from peaktime.core.plan import Apply, Create, Delete, Plan, Start, Write
from peaktime.errors import ClusterError
from peaktime.metrics import Metrics
from processors.reconcile.cluster import Cluster, ConflictError

log = structlog.get_logger(__name__)


class Writer:
    """Does the writes of plans, those of one sort side by side."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        holds: Callable[[int], bool],
        metrics: Metrics,
        in_flight: int,
    ) -> None:
        """Wire it.

        Args:
            cluster: the cluster.
            holds: whether a partition is ours at this instant; asked before every write.
            metrics: where to count.
            in_flight: writes at the same time.
        """
        self._cluster, self._holds, self._metrics = cluster, holds, metrics
        self._writing = asyncio.Semaphore(in_flight)

    async def apply(self, decided: Plan, partition: int) -> bool:
        """Do the writes: all that adds before any that takes away. False if one of them did not succeed."""
        adds = [write for write in decided.writes if not isinstance(write, Delete)]
        takes = [write for write in decided.writes if isinstance(write, Delete)]
        for writes in (adds, takes):
            results = await asyncio.gather(*(self._write(write, partition) for write in writes))
            if not all(results):
                return False
        return True

    async def _write(self, write: Write, partition: int) -> bool:
        verb = type(write).__name__.lower()
        name = write.name if isinstance(write, Delete) else write.manifest["metadata"]["name"]
        async with self._writing:
            if not self._holds(partition):
                return False
            started = time.monotonic()
            try:
                match write:
                    case Create(manifest=manifest) | Start(manifest=manifest):
                        await self._cluster.create(manifest)
                    case Apply(manifest=manifest):
                        await self._cluster.apply(manifest)
                    case Delete():
                        await self._cluster.delete(write)
            except ConflictError as error:
                log.info("the cluster has moved on", verb=verb, name=name, reason=str(error))
                self._metrics.cluster_writes.labels(verb=verb, result="conflict").inc()
                return False
            except ClusterError as error:
                log.warning("a write failed", verb=verb, name=name, error=str(error))
                self._metrics.cluster_writes.labels(verb=verb, result="error").inc()
                return False
        self._metrics.cluster_writes.labels(verb=verb, result="done").inc()
        self._metrics.cluster_write_seconds.labels(verb=verb).observe(time.monotonic() - started)
        log.info("applied", verb=verb, name=name, reason=write.reason)
        return True
