"""Helm, to render and check the chart."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from support.engines import build
from support.engines.errors import EngineError

ENVIRONMENT = "PEAKTIME_TEST_HELM"


def which() -> str:
    """How Helm would be had."""
    if os.environ.get(ENVIRONMENT):
        return f"environment: {os.environ[ENVIRONMENT]}"
    return f"native: {build.HELM.version}{'' if build.HELM.is_built else ' (to be built)'}"


def helm_binary(say: Callable[[str], None] = build.say_on_stderr) -> Path:
    """The path of Helm. One found on the PATH is not used: its version would be anybody's guess."""
    given = os.environ.get(ENVIRONMENT)
    if not given:
        return build.build(build.HELM, say)
    found = shutil.which(given)
    if found is None:
        raise EngineError(
            f"helm: {ENVIRONMENT}={given} is not a program. Next: correct it, or unset it to have one built.",
        )
    return Path(found)
