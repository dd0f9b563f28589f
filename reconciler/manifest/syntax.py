"""What libyaml says about broken YAML, in words that say what to do."""

from __future__ import annotations

import re

from yaml import YAMLError
from yaml.error import MarkedYAMLError
from yaml.reader import ReaderError

from reconciler.manifest.compose import LimitExceeded
from reconciler.manifest.text import Fault, SourceText

_QUOTE = 'put the text in quotes, as in schedule: "*/5 * * * *"'

_FOREIGN = "write it as YAML; if it is no manifest, name it in .reconcilerignore"

# libyaml's own sentence (part of it) → ours, and the hint
_SENTENCES: tuple[tuple[str, str, str], ...] = (
    ("found a tab character", "a tab stands where YAML wants spaces", "indent with spaces only"),
    (
        "mapping values are not allowed",
        "a second `key: value` begins on this line, or the indentation is off",
        "put a text that contains `: ` in quotes, and give each key its own line",
    ),
    ("did not find expected alphabetic or numeric character", "a text cannot begin with `{}`", _QUOTE),
    ("could not find expected ':'", "a key without a colon", "write `key: value`"),
    (
        "did not find expected key",
        "a key is expected here",
        "keys of one mapping begin in the same column; quotes go around a whole text, not a part of it",
    ),
    (
        "did not find expected '-' indicator",
        "a list item is expected here",
        "items of one list begin with `-` in the same column",
    ),
    (
        "did not find expected ',' or ']'",
        "a list in brackets is not closed",
        "separate its items with commas and close it with `]`; put texts with `[ ] { } , :` in quotes",
    ),
    (
        "did not find expected ',' or '}'",
        "a mapping in braces is not closed",
        "separate its entries with commas and close it with `}`; put texts with `[ ] { } , :` in quotes",
    ),
    ("block sequence entries are not allowed", "a list cannot begin here", "put `- ` on a line of its own"),
    ("found undefined alias", "`*` refers to an anchor that this document does not have", _QUOTE),
    ("found duplicate anchor", "the anchor is defined twice in this document", "give it another name"),
    (
        "found unknown escape character",
        "unknown escape after a backslash in double quotes",
        "in single quotes a backslash is just a backslash",
    ),
    (
        "found invalid Unicode character escape code",
        "an escape in double quotes names no character",
        "write the character itself",
    ),
    (
        "found unexpected end of stream",
        "a quotation mark is not closed",
        "close it, or write the text as a block that begins with `|`",
    ),
    (
        "found unexpected document indicator",
        "a quotation mark is not closed",
        "close it before the next document",
    ),
    (
        "did not find expected <document start>",
        "the document ends above, and this does not belong to it",
        "indent it, or begin a new document with ---",
    ),
    ("found undefined tag handle", "tags are not supported", "put a text that begins with `!` in quotes"),
    (
        "did not find expected whitespace or line break",
        "a text cannot go on right after this",
        "put the whole text in quotes",
    ),
    (
        "did not find expected node content",
        "a value is missing here",
        "write a value, or remove what announces it",
    ),
    (
        "did not find expected comment or line break",
        "a block begins on the line after `|` or `>`",
        "start the text on the next line, indented",
    ),
    ("found incompatible YAML document", "only YAML 1.1 and 1.2 are read", "remove the %YAML line"),
    ("found unknown directive name", "a line cannot begin with `%` here", "remove the line"),
)

_BOM = "\ufeff"
_JOINED = Fault(
    "yaml-character",
    "a byte order mark (U+FEFF) stands inside the file",
    "remove it; it comes from joining files that begin with one",
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")


def explain(error: YAMLError | LimitExceeded, text: SourceText) -> tuple[int, Fault]:
    """The character index of a syntax error and what is wrong there."""
    if isinstance(error, LimitExceeded):
        return error.index, Fault(error.code, error.message, error.hint)
    if isinstance(error, ReaderError):
        return _control_character(text)
    if not isinstance(error, MarkedYAMLError):
        return 0, Fault("yaml-syntax", "this is not YAML", _FOREIGN)
    # what is missing at the end of a file is missing after its last character, not on the line below
    index = max(0, min(place_of(error), len(text.text.rstrip()) - 1))
    joint = text.text.rfind(_BOM, max(0, index - 1), index + 1)
    if joint >= 0:
        return joint, _JOINED
    problem = str(error.problem or error.context or "")
    if "found character that cannot start any token" in problem:
        return index, _cannot_start(text.text[index : index + 1])
    return _sentence(error, index, problem, text)


def place_of(error: Exception) -> int:
    """The character that an error of libyaml's is about, as it says itself."""
    mark = error.problem_mark or error.context_mark if isinstance(error, MarkedYAMLError) else None
    return 0 if mark is None else int(mark.index)


def _sentence(error: MarkedYAMLError, index: int, problem: str, text: SourceText) -> tuple[int, Fault]:
    """Our sentence for libyaml's. What is not closed is shown where it was opened."""
    opened = error.context_mark.index if error.context_mark is not None else index
    for part, message, hint in _SENTENCES:
        if part in problem:
            place = opened if "not closed" in message or "{}" in message else index
            return place, Fault("yaml-syntax", message.format(text.text[place : place + 1]), hint)
    context = f" ({error.context})" if error.context and error.context != problem else ""
    return index, Fault("yaml-syntax", f"YAML: {problem}{context}", _QUOTE)


def _cannot_start(character: str) -> Fault:
    if character == "\t":
        return Fault("yaml-tab", "a tab stands where YAML wants spaces", "indent with spaces only")
    return Fault(
        "yaml-syntax", f"a text cannot begin with `{character}`", 'put it in quotes, as in schedule: "@daily"'
    )


def _control_character(text: SourceText) -> tuple[int, Fault]:
    match = _CONTROL.search(text.text)
    if match is None:
        return 0, Fault("yaml-character", "a character is not allowed in YAML", _FOREIGN)
    return match.start(), control_character(match[0])


def control_character(character: str) -> Fault:
    """The fault of a character that YAML does not take."""
    name = "NUL character" if character == "\0" else f"control character U+{ord(character):04X}"
    return Fault(
        "yaml-character",
        f"a {name} is not allowed in YAML",
        "remove it (is this a YAML file?), or write it as an escape in double quotes",
    )
