"""What can go wrong with a post, by what to do about it.

For: the poster, which tells the kinds apart, and the sink, which acts on them in its one retry loop. Must not: retry.

    PostError
    ├── RateLimitedError   wait as long as Slack says, then try again
    ├── UnavailableError   try again soon; the message may have arrived (``maybe_posted``)
    ├── RefusedError       nothing can be posted until somebody mends token, rights or channel: keep trying, slowly
    └── UnpostableError    this one message cannot be posted in this form
"""

from __future__ import annotations

from peaktime.errors import PeaktimeError


class PostError(PeaktimeError):
    """A notification was not posted, as far as anybody knows."""


class RateLimitedError(PostError):
    """Too many messages.

    Attributes:
        retry_after: seconds to wait.
    """

    def __init__(self, thing: str, reason: str, remedy: str = "", *, retry_after: float) -> None:
        super().__init__(thing, reason, remedy)
        self.retry_after = retry_after


class UnavailableError(PostError):
    """No answer, or one that says that trying again may help.

    Attributes:
        maybe_posted: whether the message may have arrived all the same.
    """

    def __init__(self, thing: str, reason: str, remedy: str = "", *, maybe_posted: bool = False) -> None:
        super().__init__(thing, reason, remedy)
        self.maybe_posted = maybe_posted


class RefusedError(PostError):
    """Token, rights or channel are wrong: no message can be posted until somebody mends that.

    Attributes:
        code: Slack's word for it.
    """

    def __init__(self, thing: str, reason: str, remedy: str = "", *, code: str) -> None:
        super().__init__(thing, reason, remedy)
        self.code = code


class UnpostableError(PostError):
    """This message cannot be posted in this form; others can.

    Attributes:
        code: Slack's word for it.
    """

    def __init__(self, thing: str, reason: str, remedy: str = "", *, code: str) -> None:
        super().__init__(thing, reason, remedy)
        self.code = code
