"""What can go wrong with an engine. Each message names the engine, the reason and the next step."""


class EngineError(Exception):
    """An engine did not do what was asked of it.

    EngineError
      ├─ EngineUnavailableError   it cannot be had here (a skip on a developer's machine, a failure with `CI` set)
      └─ EngineNotOursError       it was found at an address in the environment, so it is not ours to stop or harm
    """


class EngineUnavailableError(EngineError):
    """The engine cannot be had on this machine: a tool is missing or a build failed."""


class EngineNotOursError(EngineError):
    """The engine was started by somebody else, who gave us its address: we do not stop it."""
