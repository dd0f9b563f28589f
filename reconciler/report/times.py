"""Moments and spans as people and scripts read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from reconciler.model.zone import zone

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def zone_or_utc(name: str) -> tzinfo:
    """The zone of that name; UTC for a name that a hand has spoilt in the database."""
    try:
        return zone(name)
    except ValueError:
        return UTC


def span(seconds: float) -> str:
    """A length of time in at most two units: ``40ms``, ``0.4s``, ``12s``, ``3m 5s``, ``2h``, ``3d 4h``."""
    if seconds < 0:
        return "-" + span(-seconds)
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    rest = round(seconds)
    for index, (unit, letter) in enumerate(_UNITS):
        if rest >= unit:
            count, rest = divmod(rest, unit)
            lower = _UNITS[index + 1] if index + 1 < len(_UNITS) else None
            second = f" {rest // lower[0]}{lower[1]}" if lower and rest >= lower[0] else ""
            return f"{count}{letter}{second}"
    return "0s"


def brief_span(delta: timedelta) -> str:
    """A length of time in one unit, for tables: ``12s``, ``5m``, ``26h``, ``9d``."""
    seconds = int(abs(delta.total_seconds()))
    if seconds < 100:
        return f"{seconds}s"
    if seconds < 100 * 60:
        return f"{seconds // 60}m"
    if seconds < 48 * 3600:
        return f"{seconds // 3600}h"
    return f"{seconds // 86_400}d"


def relative(moment: datetime | None, now: datetime) -> str:
    """``5m ago``, ``in 26h``, ``now``; ``-`` for None."""
    if moment is None:
        return "-"
    delta = moment - now
    if abs(delta) < timedelta(seconds=1):
        return "now"
    return f"in {brief_span(delta)}" if delta > timedelta(0) else f"{brief_span(delta)} ago"


def coming(moment: datetime, now: datetime) -> str:
    """``in 26h`` of what is to come; ``due 5m ago`` of what should have come."""
    text = relative(moment, now)
    return f"due {text}" if text.endswith("ago") else text


def wall(moment: datetime, zone: tzinfo, now: datetime) -> str:
    """The time on the wall of ``zone``, with as much of the date as ``now`` leaves open: ``02:00``,
    ``Tue 02:00``, ``2026-07-01 02:00``. Seconds only where there are any."""
    local = moment.astimezone(zone)
    days = (local.date() - now.astimezone(zone).date()).days
    clock = local.strftime("%H:%M:%S" if local.second else "%H:%M")
    if days == 0:
        return clock
    return local.strftime("%a ") + clock if -6 <= days <= 6 else local.strftime("%Y-%m-%d ") + clock


def stamp(moment: datetime) -> str:
    """A whole moment for a person, cut to seconds: ``2026-03-01 12:00:00 UTC``."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return f"{utc.isoformat(' ')[:19]} UTC"


def local_rfc3339(moment: datetime, zone: tzinfo) -> str:
    """The time in ``zone`` with its offset and microseconds."""
    return moment.astimezone(zone).isoformat(timespec="microseconds")


def moment_text(moment: datetime, zone_name: str) -> str:
    """``2026-03-01 02:00 Europe/Berlin (01:00:00 UTC)``; of UTC itself once."""
    if zone_name == "UTC":
        return stamp(moment)
    local = moment.astimezone(zone_or_utc(zone_name)).isoformat(" ", "seconds")[:19]
    return f"{local.removesuffix(':00')} {zone_name} ({moment.isoformat()[11:19]} UTC)"
