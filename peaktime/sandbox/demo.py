"""The demo: the whole way of an event, on a machine with nothing but Python.

For: people who want to see what their own events and holidays lead to. It runs peaktime's own programs as they are, on
an embedded broker and a folder as the cluster; only Argo's place is taken by a stand-in, on a clock that is put
forward. Must not: let anything of a real installation in, or leave anything running.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from peaktime.errors import RequestError
from peaktime.profiles import load_profiles
from peaktime.sandbox.broker import EmbeddedBroker
from peaktime.sandbox.clock import SandboxClock
from peaktime.sandbox.demo_feed import checked_feed
from peaktime.sandbox.demo_screen import Screen
from peaktime.sandbox.demo_show import Demo, Options
from peaktime.sandbox.demo_stage import DemoError, Programs, output_folder
from peaktime.sandbox.demo_topics import TopicReader
from peaktime.settings import Settings
from producers.publish import Publisher
from schemas.catalogue import load_catalogue
from schemas.codec import Codec

_SESSION = 4.0
_CLOCK = "clock.json"


def run(options: Options) -> int:
    """Run the demo; its exit status: 0 if everything adds up, else 1.

    Raises:
        PeaktimeError: an input cannot be read, or a part of the demo failed.
    """
    if not options.pa.exists():
        raise RequestError(str(options.pa), "there is no such folder", "Name a folder of PA bodies with --pa")
    feed = None if options.feed is None else checked_feed(options.feed)
    settings = Settings.load()
    profiles = load_profiles(settings.profiles)
    with ExitStack() as stack:
        stack.enter_context(_ended_by_sigterm())
        output = stack.enter_context(output_folder(options.output))
        screen = stack.enter_context(Screen(profiles.zone))
        broker = stack.enter_context(EmbeddedBroker())
        catalogue = load_catalogue()
        broker.create(spec.name for spec in catalogue)
        demo_settings = _settings(broker.bootstrap, output, settings)
        publisher = stack.enter_context(
            Publisher(
                demo_settings.confluent_options(), Codec(), catalogue, demo_settings.publish_timeout, source="pa"
            ),
        )

        def open_reader() -> TopicReader:
            return TopicReader(demo_settings.confluent_options(), catalogue, Codec())

        programs = stack.enter_context(
            Programs(_environment(demo_settings), folder=output / "work", logs=output / "logs"),
        )
        reader = stack.enter_context(open_reader())
        demo = Demo(
            options=options,
            output=output,
            feed=feed,
            profiles=profiles,
            settings=demo_settings,
            clock=SandboxClock(output / "work" / _CLOCK),
            screen=screen,
            publisher=publisher,
            reader=reader,
            open_reader=open_reader,
            programs=programs,
        )
        try:
            status = demo.show()
        except DemoError as error:
            screen.idle()
            if demo.culprit is not None and (tail := demo.culprit.tail()):
                screen.say(f"the end of {demo.culprit.log}:", "bold red")
                screen.say(tail)
            raise error from None
    return status


def _settings(bootstrap: str, output: Path, given: Settings) -> Settings:
    """The demo's settings: nothing of a real installation but its profiles."""
    fresh = {name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()}
    return Settings(
        **{
            **fresh,
            "kafka_bootstrap": bootstrap,
            "embedded": True,
            "session_timeout": _SESSION,
            "cluster": f"directory:{output / 'live-cluster'}",
            "clock_file": output / "work" / _CLOCK,
            "profiles": given.profiles.resolve() if given.profiles else None,
            "worker_id": None,
        },
    )


def _environment(settings: Settings) -> dict[str, str]:
    """The settings as the variables of a program."""
    wanted = {
        "kafka_bootstrap": settings.kafka_bootstrap,
        "embedded": "true",
        "session_timeout": str(settings.session_timeout),
        "cluster": settings.cluster,
        "clock_file": str(settings.clock_file),
        "profiles": str(settings.profiles) if settings.profiles else "",
        "slack": "console",
    }
    return {f"PEAKTIME_{name.upper()}": value for name, value in wanted.items() if value}


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does, so that its programs end with it."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
