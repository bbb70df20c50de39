"""Applying a plan: its writes, in their order, with manners towards the API server.

Must not: decide what to write, or when to look again at a target; it says only after how long that would make sense.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from peaktime.core.plan import Apply, Create, Delete, Plan, Start, Write
from peaktime.core.runs import ENTRY
from peaktime.errors import ClusterError
from peaktime.metrics import Metrics
from processors.reconcile.cluster import BusyError, Cluster, ConflictError, RefusedError, identity
from processors.reconcile.manners import Key, Manners

log = structlog.get_logger(__name__)

#: A write that has waited for its turn for longer than this (s) is decided anew instead.
FRESH = 5.0
_AT_ONCE = 0.05
_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class _Left:
    """A write that is not done: after how many seconds to look again, and whether it was refused as it is."""

    again: float
    refused: bool = False


class Writer:
    """Does the writes of plans, those of one sort side by side.

    Attributes:
        failing: by object name, why the last write of it failed, until one is done.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        holds: Callable[[int], bool],
        metrics: Metrics,
        manners: Manners,
        in_flight: int,
    ) -> None:
        """Wire it.

        Args:
            cluster: the cluster.
            holds: whether a partition is ours at this instant; asked right before every write.
            metrics: where to count.
            manners: when a write may be sent.
            in_flight: writes at the same time.
        """
        self._cluster, self._holds, self._metrics, self._manners = cluster, holds, metrics, manners
        self._writing = asyncio.Semaphore(in_flight)
        self.failing: dict[str, str] = {}

    async def apply(self, decided: Plan, partition: int) -> float | None:
        """Do the writes: all that adds before any that takes away.

        What takes away waits until all that adds is done, or was refused as it is: that could be waited for for ever.
        Only of an entry whose new object was refused the old one stays: else there would be neither.

        Returns:
            Seconds after which to look again because something is not done; None if all is.
        """
        decided_at = time.monotonic()
        adds = [write for write in decided.writes if not isinstance(write, Delete)]
        takes = [write for write in decided.writes if isinstance(write, Delete)]
        added = await asyncio.gather(*(self._write(write, partition, decided_at) for write in adds))
        left = [result for result in added if result is not None]
        if all(one.refused for one in left):
            held = {_entry(write) for write, result in zip(adds, added, strict=True) if result is not None}
            taken = (write for write in takes if write.entry not in held)
            results = await asyncio.gather(*(self._write(write, partition, decided_at) for write in taken))
            left += [result for result in results if result is not None]
        return max(_AT_ONCE, min(one.again for one in left)) if left else None

    def _remember(self, name: str, reason: str) -> None:
        """Keep why a write failed, and of what nobody tries any more not for ever."""
        self.failing.pop(name, None)
        self.failing[name] = reason
        if len(self.failing) > _REMEMBERED:
            del self.failing[next(iter(self.failing))]

    async def _write(self, write: Write, partition: int, decided_at: float) -> _Left | None:
        key = _key(write)
        wait = self._manners.wait(key)
        if wait > 0:
            return _Left(wait)
        async with self._writing:
            if time.monotonic() - decided_at > FRESH:
                return _Left(_AT_ONCE)
            had, wait = self._manners.begin(key)
            if not had:
                return _Left(wait)
            try:
                if wait > 0:
                    await asyncio.sleep(wait)
                if not self._holds(partition):
                    return _Left(_AT_ONCE)
                return await self._send(write, key)
            finally:
                self._manners.left(key)

    async def _send(self, write: Write, key: Key) -> _Left | None:
        verb, name = type(write).__name__.lower(), key[2]
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
            again = self._manners.failed(key, server=False)
            log.info("the cluster has moved on", verb=verb, name=name, reason=str(error), plan=write.reason)
            self._metrics.cluster_writes.labels(verb=verb, result="conflict").inc()
            return _Left(again)
        except RefusedError as error:
            again = self._manners.failed(key, server=False)
            self._remember(name, error.reason)
            log.warning("a write was refused", verb=verb, name=name, error=str(error), plan=write.reason)
            self._metrics.cluster_writes.labels(verb=verb, result="refused").inc()
            return _Left(again, refused=True)
        except ClusterError as error:
            after = error.after if isinstance(error, BusyError) else None
            again = self._manners.failed(key, server=True, after=after)
            self._remember(name, error.reason)
            log.warning("a write failed", verb=verb, name=name, error=str(error), again_in=round(again, 2))
            self._metrics.cluster_writes.labels(verb=verb, result="error").inc()
            return _Left(again)
        self._manners.done(key)
        self.failing.pop(name, None)
        self._metrics.cluster_writes.labels(verb=verb, result="done").inc()
        self._metrics.cluster_write_seconds.labels(verb=verb).observe(time.monotonic() - started)
        log.info("applied", verb=verb, name=name, reason=write.reason)
        return None


def _entry(write: Create | Apply | Start) -> str:
    """The key of the entry that an object is for."""
    return str(write.manifest["metadata"]["annotations"].get(ENTRY, ""))


def _key(write: Write) -> Key:
    if isinstance(write, Delete):
        return "CronWorkflow", write.namespace, write.name
    return identity(write.manifest)
