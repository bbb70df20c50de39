"""A schema registry with Confluent's API, kept in memory."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx
from support.engines import build
from support.engines.errors import EngineNotOursError
from support.engines.process import Process, free_port, wait_until

ENVIRONMENT = "PEAKTIME_TEST_REGISTRY"
_READY_SECONDS = 30


def which() -> str:
    """How a registry would be had."""
    if os.environ.get(ENVIRONMENT):
        return f"environment: {os.environ[ENVIRONMENT]}"
    return f"native: {build.REGISTRY.version}{'' if build.REGISTRY.is_built else ' (to be built)'}"


def start_registry(say: Callable[[str], None] = build.say_on_stderr) -> "SchemaRegistry":
    """A registry that answers: the one at the address in the environment, else a native one of our own."""
    return AddressedRegistry(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else NativeRegistry(say)


class SchemaRegistry:
    """A schema registry at `url`.

    Attributes:
        url: Its address, without a slash at the end.
        source: How it was had, for the summary of a test session.
    """

    def __init__(self, url: str, source: str) -> None:
        self.url = url.rstrip("/")
        self.source = source

    def stop(self) -> None:
        """Let go of it, for good."""

    def kill(self) -> None:
        """Make it crash."""
        raise EngineNotOursError(
            f"the schema registry at {self.url} came from {ENVIRONMENT}. Next: unset it for this test.",
        )

    def restart(self) -> None:
        """Start it anew at the same address; what it had in memory is gone."""
        raise EngineNotOursError(
            f"the schema registry at {self.url} came from {ENVIRONMENT}. Next: unset it for this test.",
        )

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/subjects", timeout=5).is_success
        except httpx.TransportError:
            return False


class AddressedRegistry(SchemaRegistry):
    """A registry somebody else runs."""

    def __init__(self, url: str) -> None:
        super().__init__(url, "schema registry, environment")
        wait_until(f"the schema registry at {ENVIRONMENT}={url} answers", self._answers, seconds=_READY_SECONDS)


class NativeRegistry(SchemaRegistry):
    """A registry of our own."""

    def __init__(self, say: Callable[[str], None] = build.say_on_stderr) -> None:
        binary = build.build(build.REGISTRY, say)
        port = free_port()
        super().__init__(f"http://127.0.0.1:{port}", f"schema registry {build.REGISTRY.version}, native")
        self._folder = Path(tempfile.mkdtemp(prefix="peaktime-registry-"))
        config = self._folder / "registry.yaml"
        config.write_text(
            json.dumps({"server": {"host": "127.0.0.1", "port": port}, "storage": {"type": "memory"}}),  # JSON is YAML
        )
        self._process = Process("schema-registry", [binary, "-config", config], self._folder)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        self._process.kill()

    def restart(self) -> None:
        self._process.stop()
        self._start()

    def _start(self) -> None:
        self._process.start()
        wait_until("the schema registry answers", self._answers, seconds=_READY_SECONDS, processes=[self._process])
