"""Hypothesis: histories of requests as people and calendars send them, orderly and otherwise."""

from hypothesis import strategies as st

from schemas.records import RequestAction

from .asking import asked

BANDS = ("common", "morning", "lunch", "night")


@st.composite
def histories(draw, *, most=10, length=120, gap=20.0, bands=BANDS):
    """Requests with the minute at which each reaches the log: pairs, loners, late ones, moves, ends, withdrawals."""
    minute, history = 0.0, []
    for number in range(draw(st.integers(1, most))):
        minute += draw(st.integers(0, int(gap * 2))) / 2
        action = draw(
            st.sampled_from([RequestAction.SCALE_OUT] * 4 + [RequestAction.SCALE_IN] * 3 + [RequestAction.DELETE] * 2),
        )
        start = draw(st.integers(1, length))
        end = start + draw(st.integers(1, length // 2))
        history.append(
            (
                asked(
                    action,
                    f"r{number if draw(st.integers(0, 9)) else 0}",
                    start if action is RequestAction.SCALE_OUT else None,
                    end if action is RequestAction.SCALE_IN or draw(st.booleans()) else None,
                    requested=minute - draw(st.sampled_from([0, 0, 0, 30])) / 60,
                    date=f"2026-05-0{draw(st.integers(4, 6))}",
                    origin=draw(st.sampled_from(["pa", "pa", "operator"])),
                    band=draw(st.sampled_from(bands)),
                ),
                minute,
            ),
        )
    return history
