"""How a figure is said: rounded, and never with an exponent where its digits say it as well."""

from __future__ import annotations

HUGE = 1e9  # from here on nobody counts the digits


def figure(value: float | None, digits: int = 4, *, thousands: str = "") -> str:
    """Return a value with so many digits, all of its whole ones where there are more, or nothing.

    `thousands` parts them by three, as "," does.
    """
    if value is None:
        return ""
    whole = 10**digits - 0.5 <= abs(value) < HUGE
    form = f"{thousands}.0f" if whole else f".{digits}g"
    return f"{value:{form}}"
