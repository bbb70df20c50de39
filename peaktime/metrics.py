"""Every metric that peaktime has, each named once.

For: the composition root builds one ``Metrics`` and hands it down. Must not: be global, or decide anything.

Names follow Prometheus: base units in the name, counters end in ``_total``. A label never holds a user's text.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from peaktime.errors import SettingsError

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def taken(host: str, port: int, error: OSError) -> SettingsError:
    """What to say when metrics cannot be served there."""
    reason = f"cannot listen there: {error.strerror or error}"
    remedy = "Choose another with PEAKTIME_METRICS_HOST and PEAKTIME_METRICS_PORT"
    return SettingsError(f"metrics address {host}:{port}", reason, remedy)


class Metrics:
    """The metrics of one process, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = r = registry if registry is not None else CollectorRegistry()

        # Folding. Together they are the equation of requests: in = verdicts + forwarded + dead-lettered + unread.
        self.records_read = Counter(
            "peaktime_records_read_total",
            "Records delivered to a stage, redelivered ones too",
            ["topic"],
            registry=r,
        )
        self.verdicts = Counter(
            "peaktime_verdicts_total",
            "Requests folded, by what became of them",
            ["verdict"],
            registry=r,
        )
        self.redelivered = Counter(
            "peaktime_redelivered_total",
            "Records at or below the folded position, which changed nothing",
            ["topic"],
            registry=r,
        )
        self.forwarded = Counter(
            "peaktime_forwarded_total",
            "Records under a wrong key or partition, sent to the right one",
            ["topic"],
            registry=r,
        )
        self.dead_letters = Counter(
            "peaktime_dead_letters_total",
            "Records kept as dead letters",
            ["topic", "code"],
            registry=r,
        )
        self.commits = Counter("peaktime_commits_total", "Commits of the sink, by result", ["result"], registry=r)
        self.table_rows = Gauge(
            "peaktime_table_rows",
            "Rows of the partitions that are assigned",
            ["table"],
            registry=r,
        )
        self.schema_waits = Counter(
            "peaktime_schema_waits_total",
            "Times that a stage waited for the schema registry",
            registry=r,
        )
        self.schema_waiting = Gauge(
            "peaktime_schema_waiting",
            "Stages that wait for the schema registry",
            registry=r,
        )

        # Converging.
        self.looks = Counter("peaktime_looks_total", "Looks at a target, by result", ["result"], registry=r)
        self.look_seconds = Histogram(
            "peaktime_look_seconds",
            "Time to look at one target: gather, decide, apply",
            buckets=_SECONDS,
            registry=r,
        )
        self.cluster_writes = Counter(
            "peaktime_cluster_writes_total",
            "Writes to the cluster",
            ["verb", "result"],
            registry=r,
        )
        self.cluster_write_seconds = Histogram(
            "peaktime_cluster_write_seconds",
            "Time of one write to the cluster",
            ["verb"],
            buckets=_SECONDS,
            registry=r,
        )
        self.watch_restarts = Counter("peaktime_watch_restarts_total", "Watches begun anew", ["kind"], registry=r)
        self.scheduled = Gauge("peaktime_scheduled_runs", "CronWorkflows of ours that are yet to fire", registry=r)
        self.problems_open = Gauge("peaktime_problems_open", "Problems that are open", ["code"], registry=r)
        self.outcomes = Counter("peaktime_outcomes_total", "Outcomes reported", ["kind"], registry=r)

        # Telling.
        self.notifications = Counter("peaktime_notifications_total", "Notifications announced", ["kind"], registry=r)
        self.deliveries = Counter(
            "peaktime_deliveries_total",
            "Posts to people, by result",
            ["sink", "result"],
            registry=r,
        )
        self.ambiguous_posts = Counter(
            "peaktime_ambiguous_posts_total",
            "Posts of which nobody knows whether they arrived",
            ["sink"],
            registry=r,
        )
        self.delivery_seconds = Histogram(
            "peaktime_delivery_seconds",
            "From a decision's log time to its post",
            buckets=_SECONDS,
            registry=r,
        )

        # The gateway.
        self.gateway_answers = Counter("peaktime_gateway_answers_total", "Answers, by status", ["status"], registry=r)
        self.gateway_seconds = Histogram("peaktime_gateway_seconds", "Time of one answer", buckets=_SECONDS, registry=r)

    def serve(self, port: int, host: str = "127.0.0.1") -> tuple[int, Callable[[], None]]:
        """Serve the metrics over HTTP at ``/metrics``.

        Args:
            port: 0 takes a free one.
            host: address to listen on.

        Returns:
            The port, and a function that stops serving.

        Raises:
            SettingsError: nobody can listen there, mostly because somebody else does.
        """
        try:
            server, thread = start_http_server(port, addr=host, registry=self.registry)
        except OSError as error:
            raise taken(host, port, error) from error

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return server.server_port, stop
