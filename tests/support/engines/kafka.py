"""A Kafka broker: the one at an address in the environment, else one in Docker, else a native process of our own."""

import base64
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from support.engines import build, docker
from support.engines.errors import EngineError, EngineNotOursError, EngineUnavailableError
from support.engines.process import Process, free_port, wait_until

ENVIRONMENT = "PEAKTIME_TEST_KAFKA"
IMAGE_ENVIRONMENT = "PEAKTIME_TEST_KAFKA_IMAGE"
_READY_SECONDS = 60
_JVM_MEMORY = ("-Xmx768m", "-XX:+UseSerialGC")


def which() -> str:
    """How a broker would be had. Tells without pulling an image, so about Docker it can only say what it would try."""
    if os.environ.get(ENVIRONMENT):
        return f"environment: {os.environ[ENVIRONMENT]}"
    native = f"native: {build.KAFKA_VERSION}{'' if build.KAFKA.is_built else ' (to be built)'}"
    if not docker.docker_answers():
        return native
    if docker.has_image(_image()):
        return f"docker: {_image()}"
    return f"docker: {_image()}, if it can be pulled; else {native}"


def start_kafka(say: Callable[[str], None] = build.say_on_stderr) -> "Kafka":
    """A broker that answers, had in the first way that works."""
    if os.environ.get(ENVIRONMENT):
        return AddressedKafka(os.environ[ENVIRONMENT])
    if docker.docker_answers():
        from testcontainers.core.config import testcontainers_config  # noqa: PLC0415 - slow to import, seldom needed

        images = [_image()] if testcontainers_config.ryuk_disabled else [_image(), testcontainers_config.ryuk_image]
        missing = [image for image in images if not docker.can_have_image(image)]
        if not missing:
            return DockerKafka(_image())
        say(f"kafka: Docker answers but {' and '.join(missing)} cannot be pulled: using a native broker")
    return NativeKafka(say=say)


class Kafka:
    """A broker.

    Attributes:
        bootstrap: Its address, as clients want it.
        source: How it was had, for the summary of a test session.
    """

    def __init__(self, bootstrap: str, source: str) -> None:
        self.bootstrap = bootstrap
        self.source = source

    def stop(self) -> None:
        """Let go of it, for good: what was started is ended and its data is gone."""

    def kill(self) -> None:
        """Make it crash; `restart` brings it back."""
        raise self._not_ours()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        raise self._not_ours()

    def resume(self) -> None:
        """Let it go on after `pause`."""
        raise self._not_ours()

    def restart(self) -> None:
        """End it in an orderly way, if it runs, and start it again with the same address and data."""
        raise self._not_ours()

    def _not_ours(self) -> EngineNotOursError:
        return EngineNotOursError(f"kafka at {self.bootstrap} came from {ENVIRONMENT}. Next: unset it for this test.")


class AddressedKafka(Kafka):
    """A broker somebody else runs."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap, "Kafka, environment")
        wait_until(f"kafka at {ENVIRONMENT}={bootstrap} answers", _answers(bootstrap), seconds=_READY_SECONDS)


class NativeKafka(Kafka):
    """A broker of our own as a native process, with its own data, on loopback.

    Clients use the listener CLIENT; the broker's traffic with itself uses others, so the CLIENT listener can be given
    another protocol by `properties`, for example `{"listener.security.protocol.map":
    "CLIENT:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT", …}`.

    Attributes:
        internal: The address of the plain listener, which is there whatever protocol clients have to use.
        process: The process, for what this class has no word for.

    Args:
        properties: Broker properties beyond, or instead of, our own.
        say: Where the progress of a first build goes.
    """

    def __init__(
        self,
        properties: Mapping[str, str] | None = None,
        say: Callable[[str], None] = build.say_on_stderr,
    ) -> None:
        jars = build.build(build.KAFKA, say)
        ports = {name: free_port() for name in ("CLIENT", "INTERNAL", "CONTROLLER")}
        super().__init__(f"127.0.0.1:{ports['CLIENT']}", f"Kafka {build.KAFKA_VERSION}, native")
        self.internal = f"127.0.0.1:{ports['INTERNAL']}"
        self._folder = Path(tempfile.mkdtemp(prefix="peaktime-kafka-"))
        settings = self._folder / "server.properties"
        listeners = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        settings.write_text(
            _as_text(_properties(listeners, listeners, str(self._folder / "data")) | (properties or {})),
        )
        java = ("java", *_JVM_MEMORY, "-cp", f"{jars}/*")
        self.process = Process("kafka", [*java, "kafka.Kafka", settings], self._folder)
        try:
            self._format([*java, "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool"], settings)
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self.process.kill()  # the data goes with it, so nothing would be gained by an orderly end
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        self.process.kill()

    def pause(self) -> None:
        self.process.pause()

    def resume(self) -> None:
        self.process.resume()

    def restart(self) -> None:
        self.process.stop()
        self._start()

    def _format(self, tool: list[str], settings: Path) -> None:
        if shutil.which("java") is None:
            raise EngineUnavailableError(
                "kafka cannot run: `java` is not on the PATH. "
                "Next: install a JDK 17 or later (Debian: apt-get install openjdk-17-jdk-headless).",
            )
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        formatter = Process(
            "kafka-format",
            [*tool, "format", f"--cluster-id={cluster}", f"--config={settings}"],
            self._folder,
        )
        formatter.start()
        wait_until("kafka's data folder is formatted", lambda: not formatter.is_running, seconds=_READY_SECONDS)
        if not (self._folder / "data" / "meta.properties").exists():
            raise EngineError(f"kafka's data folder could not be formatted:\n{formatter.log_tail()}")

    def _start(self) -> None:
        self.process.start()
        wait_until("kafka answers", _answers(self.internal), seconds=_READY_SECONDS, processes=[self.process])


class DockerKafka(Kafka):
    """A broker of our own in a container; its data lives as long as the container."""

    def __init__(self, image: str) -> None:
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - slow to import, seldom needed

        port = free_port()
        container = DockerContainer(image)
        host = container.get_docker_client().host()
        host = "127.0.0.1" if host == "localhost" else host
        super().__init__(f"{host}:{port}", f"Kafka, docker {image}")
        bound = {"CLIENT": "0.0.0.0:9092", "INTERNAL": "127.0.0.1:9094", "CONTROLLER": "127.0.0.1:9093"}
        told = bound | {"CLIENT": self.bootstrap}
        for name, value in _properties(bound, told, "/tmp/kafka-data").items():
            container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
        container.with_env("KAFKA_HEAP_OPTS", _JVM_MEMORY[0]).with_env("KAFKA_JVM_PERFORMANCE_OPTS", _JVM_MEMORY[1])
        container.ports["9092/tcp"] = ("127.0.0.1", port) if host == "127.0.0.1" else port
        self._container = container
        try:
            container.start()
            self._await()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._container.stop()

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()

    def pause(self) -> None:
        self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        self._container.get_wrapped_container().unpause()

    def restart(self) -> None:
        self._container.get_wrapped_container().restart()
        self._await()

    def _await(self) -> None:
        try:
            wait_until("kafka answers", _answers(self.bootstrap), seconds=_READY_SECONDS)
        except EngineError as error:
            log = self._container.get_wrapped_container().logs(tail=25).decode(errors="replace")
            raise EngineError(f"{error}\nThe end of the container's log:\n{log}") from error


def _image() -> str:
    return os.environ.get(IMAGE_ENVIRONMENT) or f"apache/kafka:{build.KAFKA_VERSION}"


def _properties(bound: Mapping[str, str], told: Mapping[str, str], data: str) -> dict[str, str]:
    """A single node that is broker and controller, binding and telling clients the given addresses by listener."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{told['CONTROLLER']}",
        "listeners": ",".join(f"{name}://{address}" for name, address in bound.items()),
        "advertised.listeners": ",".join(f"{name}://{told[name]}" for name in ("CLIENT", "INTERNAL")),
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "INTERNAL",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,
        # A topic is made by what declares it, never by a client's typing error.
        "auto.create.topics.enable": "false",
        # One broker only: the topics of Kafka's own cannot have replicas, and few partitions start faster.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # After a crash the controller waits for the old session to end before it lets the broker back in.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # Groups of tests form at once and notice at once that a member is gone.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
    }


def _as_text(properties: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in properties.items())


def _answers(bootstrap: str) -> Callable[[], bool]:
    """A condition: a client is told of at least one broker."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "reconnect.backoff.max.ms": 200, "log_level": 0})

    def answers() -> bool:
        try:
            return bool(admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    return answers
