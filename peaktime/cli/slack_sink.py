"""``peaktime slack-sink``: tell people.

For: wiring the sink to Kafka and to Slack or the console, and stopping it in order: on SIGTERM or Ctrl-C it finishes
the post that is under way, commits it, and leaves with 0. Must not: know what a notification means.
"""

from __future__ import annotations

import signal
import threading
from typing import Annotated, Literal

import typer

from peaktime.cli.wiring import begin, open_codec
from peaktime.errors import SettingsError
from peaktime.metrics import Metrics
from peaktime.settings import Settings
from processors.slack.client import ConsolePoster, Poster, SlackPoster
from processors.slack.log import STAGE, SinkLog
from processors.slack.sink import SlackSink
from schemas.catalogue import load_catalogue


def command(
    *,
    to: Annotated[
        Literal["console", "web"] | None,
        typer.Option(help="Where messages go. [default: PEAKTIME_SLACK]"),
    ] = None,
    until_idle: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, help="End after so many seconds without a message.", show_default=False),
    ] = None,
) -> None:
    """Read notifications and post each of them once, to Slack or to the console, until SIGTERM or Ctrl-C."""
    settings = Settings.load(slack=to)
    begin(settings)
    poster = poster_of(settings)
    metrics = Metrics()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop_serving = None
    if settings.metrics_port is not None:
        _, stop_serving = metrics.serve(settings.metrics_port, settings.metrics_host)
    try:
        build(settings, poster, metrics, stop).run(until_idle)
    finally:
        if stop_serving is not None:
            stop_serving()


def poster_of(settings: Settings) -> Poster:
    """Where the settings send messages.

    Raises:
        SettingsError: Slack is asked for without a token.
    """
    if settings.slack == "console":
        return ConsolePoster()
    if settings.slack_token is None:
        raise SettingsError(
            "PEAKTIME_SLACK_TOKEN",
            "is not set, but PEAKTIME_SLACK is web",
            "Set it to a bot token (xoxb-…)",
        )
    return SlackPoster(settings.slack_token.get_secret_value(), settings.slack_channel, settings.slack_url)


def build(settings: Settings, poster: Poster, metrics: Metrics, stop: threading.Event) -> SlackSink:
    """A sink from its settings; it connects when it runs."""
    catalogue = load_catalogue(settings.topic_prefix)
    codec = open_codec(settings)
    options = settings.confluent_options()
    consumer_options: dict[str, object] = {
        "session.timeout.ms": int(settings.session_timeout * 1000),
        "heartbeat.interval.ms": int(settings.heartbeat * 1000),
    }
    if settings.worker_id:
        consumer_options["group.instance.id"] = f"{settings.worker_id}-{STAGE}"
    if settings.embedded:
        consumer_options |= {"allow.auto.create.topics": True, "fetch.wait.max.ms": 20}
    return SlackSink(
        options=options,
        group=settings.group(STAGE),
        topic=catalogue.notifications,
        codec=codec,
        poster=poster,
        log=SinkLog(options, codec, catalogue, timeout=settings.publish_timeout, embedded=settings.embedded),
        metrics=metrics,
        stop=stop,
        consumer_options=consumer_options,
    )
