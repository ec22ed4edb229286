"""How long a server asks to be left alone: the header Retry-After."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime

from fgvedit.util.errors import FGVEditError

LONGEST_WAIT = 600.0  # seconds that a server may ask for before the run stops instead


def seconds_to_wait(retry_after: str | None, now: float, who: str) -> float | None:
    """Seconds from a header Retry-After, which is a number of them or a date; None where it is neither, or none.

    `now`: seconds since 1970. `who`: the server, as a sentence begins with it. Raises `FGVEditError` where it asks for
    more than `LONGEST_WAIT`.
    """
    try:
        seconds = float(retry_after or "")
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after or "").timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return None
    if not math.isfinite(seconds):
        return None
    if seconds > LONGEST_WAIT:
        raise FGVEditError(
            f"{who} asks to wait {seconds:,.0f} seconds, expected at most {LONGEST_WAIT:,.0f}; the same command goes "
            "on from here, later"
        )
    return max(0.0, seconds)
