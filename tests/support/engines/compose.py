"""Docker Compose, to check the compose file: `config` needs no daemon."""

import os
import shlex
import subprocess
from collections.abc import Callable
from functools import cache

from support.engines import build

ENVIRONMENT = "PEAKTIME_TEST_COMPOSE"
VERSION = "2.40.3"

RECIPE = build.Recipe(
    name="docker-compose",
    version=VERSION,
    folder="compose",
    command=(
        *("env", "CGO_ENABLED=0", "go", "build", "-mod=mod", "-trimpath", "-ldflags"),
        f"-s -w -X github.com/docker/compose/v2/internal.Version=v{VERSION}",
        *("-o", "{out}/docker-compose", "github.com/docker/compose/v2/cmd"),
    ),
    product="docker-compose",
    minutes=3,
)


def which() -> str:
    """How Compose would be had."""
    if os.environ.get(ENVIRONMENT):
        return f"environment: {os.environ[ENVIRONMENT]}"
    if plugin_version():
        return f"docker compose: {plugin_version()}"
    return f"native: {VERSION}{'' if RECIPE.is_built else ' (to be built)'}"


def compose_command(say: Callable[[str], None] = build.say_on_stderr) -> list[str]:
    """The command that Compose is: the environment's, Docker's plugin, or one that is built."""
    if os.environ.get(ENVIRONMENT):
        return shlex.split(os.environ[ENVIRONMENT])
    if plugin_version():
        return ["docker", "compose"]
    return [str(build.build(RECIPE, say))]


@cache
def plugin_version() -> str:
    """The version of Docker's plugin; empty if there is none."""
    try:
        command = ["docker", "compose", "version", "--short"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
