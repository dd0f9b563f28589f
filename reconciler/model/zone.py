"""Time zones by their IANA names."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import ZoneInfo

NO_ZONES = frozenset({"Factory", "localtime", "posixrules"})
"""Files of a zone database that are no zones: `localtime` is another one on each machine."""
_COPIES = ("posix/", "right/")
"""Debian's copies of all zones, the second with leap seconds, which no other clock here counts."""


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The IANA zone of that exact name; raises ValueError for any other text."""
    if name in NO_ZONES or name.startswith(_COPIES):
        raise ValueError(f"{name!r} is not an IANA time zone")
    try:
        return ZoneInfo(name)
    except (OSError, ValueError) as error:
        # OSError covers names that are folders of the zone database; ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"{name!r} is not an IANA time zone") from error
    except KeyError as error:
        raise ValueError(f"{name!r} is not an IANA time zone") from error
