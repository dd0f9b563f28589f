"""What a plain scalar means: text, number, truth or nothing, and never something the author did not mean.

YAML 1.1 (PyYAML, Ansible) and YAML 1.2 (editors, Go, JavaScript) read some plain scalars differently:
``012`` is 10 or 12, ``1e3`` a text or 1000, ``1:30`` 90 or a text. Such a scalar becomes an ``Ambiguous``,
which no field accepts. Booleans are those of YAML 1.1 and dates are text: no field is a date.
Rules: yaml.org/type (1.1) and the core schema of yaml.org/spec/1.2.2, section 10.3.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
"""Plain scalars that are no text in YAML 1.1."""

NUMBER_START = frozenset("0123456789+-.")

_LONGEST_NUMBER = 40
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)", re.ASCII)
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"(?:[-+]?[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?", re.ASCII)
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)

_OCTAL_11 = re.compile(r"[-+]?0[0-7_]+", re.ASCII)
_BINARY_11 = re.compile(r"[-+]?0b[01_]+", re.ASCII)
_HEX_11 = re.compile(r"[-+]?0x[0-9a-fA-F_]+", re.ASCII)
_DECIMAL_11 = re.compile(r"[-+]?[1-9][0-9_]*", re.ASCII)
_FLOAT_11 = re.compile(r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?", re.ASCII)
_SEXAGESIMAL_11 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?", re.ASCII)

_DECIMAL_12 = re.compile(r"[-+]?[0-9]+", re.ASCII)
_OCTAL_12 = re.compile(r"0o[0-7]+", re.ASCII)
_FLOAT_12 = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A plain scalar that YAML parsers read differently; ``text`` is what the author wrote."""

    text: str

    def readings(self) -> tuple[str, str]:
        """What YAML 1.1 and what YAML 1.2 make of it: a number, or ``text``."""
        return _reading_11(self.text), _reading_12(self.text)


@lru_cache(maxsize=8192)
def number(text: str) -> int | float | Ambiguous | None:
    """The value of a plain scalar that begins like a number; None if it is a text after all."""
    if len(text) > _LONGEST_NUMBER:
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _HEXADECIMAL.fullmatch(text):
        return int(text, 16)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "", 1))
    first, second = _reading_11(text), _reading_12(text)
    if first != second:
        return Ambiguous(text)
    return None if first == "text" else int(first)


def _reading_11(text: str) -> str:
    digits = text.replace("_", "")
    if _OCTAL_11.fullmatch(text):
        return str(int(digits, 8))
    if _BINARY_11.fullmatch(text):
        return _based(digits, "0b", 2)
    if _HEX_11.fullmatch(text):
        return _based(digits, "0x", 16)
    if _SEXAGESIMAL_11.fullmatch(text) and not (text.lstrip("+-").startswith("0") and "." not in text):
        return _sexagesimal(digits)
    if _DECIMAL_11.fullmatch(text):
        return str(int(digits))
    if _FLOAT_11.fullmatch(text):
        return _short(digits)
    return "text"


def _reading_12(text: str) -> str:
    if _DECIMAL_12.fullmatch(text):
        return str(int(text))
    if _OCTAL_12.fullmatch(text):
        return str(int(text, 0))
    if _HEXADECIMAL.fullmatch(text):
        return str(int(text, 16))
    if _FLOAT_12.fullmatch(text):
        return _short(text)
    return "text"


def _based(digits: str, mark: str, base: int) -> str:
    sign = "-" if digits.startswith("-") else ""
    rest = digits.partition(mark)[2]
    return sign + str(int(rest, base)) if rest else "text"


def _sexagesimal(digits: str) -> str:
    total = 0.0
    for part in digits.lstrip("+-").split(":"):
        total = total * 60 + float(part)
    return _short(("-" if digits.startswith("-") else "") + str(total))


def _short(digits: str) -> str:
    value = float(digits)
    return str(int(value)) if value == int(min(max(value, -1e15), 1e15)) else repr(value)
