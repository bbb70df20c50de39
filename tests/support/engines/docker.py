"""Whether Docker can be used, found out quickly: nothing here may make a test session hang."""

import shutil
import subprocess
from functools import cache

_ANSWER_SECONDS = 3
_PULL_SECONDS = 120


@cache
def docker_answers() -> bool:
    """Whether a Docker daemon answers."""
    return _succeeds("version", "--format", "{{.Server.Version}}", seconds=_ANSWER_SECONDS)


def has_image(image: str) -> bool:
    """Whether the daemon has the image already."""
    return _succeeds("image", "inspect", image, seconds=_ANSWER_SECONDS)


def can_have_image(image: str) -> bool:
    """Whether the image is there or can be pulled in reasonable time."""
    return has_image(image) or _succeeds("pull", "--quiet", image, seconds=_PULL_SECONDS)


def _succeeds(*arguments: str, seconds: float) -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        done = subprocess.run([docker, *arguments], check=False, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
