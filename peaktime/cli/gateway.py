"""``peaktime gateway``: PA's endpoints over HTTP.

For: wiring the gateway to Kafka and to a socket, and stopping it in order: on SIGTERM it takes nothing new, answers
what it has, and leaves with 0. Must not: know what a request means.
"""

from __future__ import annotations

import signal
import socket
from types import FrameType
from typing import Annotated

import typer
import uvicorn

from peaktime.cli.request import clock_of
from peaktime.cli.wiring import begin, open_publisher
from peaktime.errors import SettingsError
from peaktime.metrics import Metrics
from peaktime.profiles import load_profiles
from peaktime.settings import Settings
from producers.pa.gateway import create_gateway
from producers.pa.probe import KafkaProbe

_SPARE_SECONDS = 5.0


def command(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: PEAKTIME_GATEWAY_HOST]")] = None,
    port: Annotated[int | None, typer.Option(help="Its port; 0 takes a free one.", min=0, max=65535)] = None,
) -> None:
    """Take PA's calls over HTTP until SIGTERM or Ctrl-C."""
    settings = Settings.load(gateway_host=host, gateway_port=port)
    begin(settings)
    profiles = load_profiles(settings.profiles)
    listening = _listen(settings.gateway_host, settings.gateway_port)
    publisher = open_publisher(settings, "gateway")
    app = create_gateway(
        publisher,
        profiles,
        clock_of(settings),
        ready=KafkaProbe(settings.confluent_options(), publisher.catalogue.requests),
        metrics=Metrics(),
    )
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.publish_timeout + _SPARE_SECONDS),
    )
    server = uvicorn.Server(config)

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # For the moment before uvicorn listens to signals, and because it raises the one that stopped it again at its end.
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        typer.echo(f"peaktime gateway listens on http://{_shown(listening)}")
        server.run(sockets=[listening])
    finally:
        try:
            publisher.close()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = f"cannot listen there: {error.strerror or error}"
        remedy = "Choose another with PEAKTIME_GATEWAY_HOST and PEAKTIME_GATEWAY_PORT"
        raise SettingsError(f"gateway address {host}:{port}", reason, remedy) from error
    # Connections inherit it. Without it an answer's body waits 40 ms for the acknowledgement of its head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _shown(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
