"""What a YAML syntax error most likely means, in the words of someone who writes job files."""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

TEMPLATE = (
    'an unquoted {{ … }} or {% … %} is YAML\'s own syntax: quote the whole value, "{{ column }}", '
    "or write it as a block below `|`"
)

_INDENTED = "this line is indented differently from the ones it belongs to: give it their indentation"

_QUOTE = "quote a value that holds signs"

_BY_LINE: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"^ *\t|^\s*(- )?[\w.-]+:\t"),
        "a tab, which YAML does not take as indentation: use spaces",
    ),
    (re.compile(r"(^\s*-|[:\[,{])\s+\{[{%]"), TEMPLATE),
    (
        re.compile(r"[\[{].*[:\[,{]\s*[^\s\"']*\$\{"),
        'inside { } and [ ] a ${VAR} must be quoted: "${VAR}"',
    ),
    (
        re.compile(r"(^|(^\s*-|[:\[,{])\s+)[>|](?![-+0-9]*\s*(#.*)?$)"),
        'a value that begins with > or | opens a block of text in YAML: quote it, ">= 99%"',
    ),
    (
        re.compile(r"(^\s*-|[:\[,{])\s+[%@`]"),
        "a value cannot begin with %, @ or ` in YAML: quote it",
    ),
    (
        re.compile(r"(^\s*-|[:\[,{])\s+\*"),
        'a value that begins with * is an alias in YAML: quote it, "*.jsonl"',
    ),
    (
        re.compile(r"""^\s*(- )?[\w.-]+:\s+["'].*["']\s*[^\s#"',}\]]"""),
        "text goes on after the closing quote: quote the whole value, and double the quotes inside it",
    ),
    (
        re.compile(r"^\s*(- )?[A-Za-z_][\w.-]*:[^\s:/]"),
        "a space is missing after the colon: write `key: value`",
    ),
    (
        re.compile(r":\s+[^\s\"'|>{\[#].*:(\s|$)"),
        "a value that holds `: ` must be quoted, or written as a block below `|`",
    ),
)
"""Tried in order on the lines an error names; the first match explains it."""

_BY_PROBLEM: tuple[tuple[str, str], ...] = (
    (
        "unexpected end of stream",
        "a quote that is opened here is never closed: close it, or put the value in a block below `|`",
    ),
    ("unknown escape character", "a backslash inside \"…\" begins an escape: write '…', or double it"),
    ("another document", "a job file holds one document: remove the line `---`"),
    (
        "undefined alias",
        "a value that begins with * is an alias in YAML, and no anchor has its name: quote it",
    ),
    ("',' or '}'", "a { that is opened here is not closed, or a comma is missing: add it"),
    ("',' or ']'", "a [ that is opened here is not closed, or a comma is missing: add it"),
    ("mapping values are not allowed", _INDENTED),
    ("expected key", _INDENTED),
    ("<block end>", _INDENTED),
)


@dataclass(frozen=True, slots=True)
class SyntaxTrap:
    """A line of the YAML text, from 1, and what is wrong with it."""

    line: int
    text: str


def explain(error: yaml.YAMLError, text: str) -> SyntaxTrap:
    """Turn pyyaml's error into the line to look at and what to change there.

    The C parser and the one in Python word their errors differently, so the text of the
    lines decides first and pyyaml's own words are the last resort.
    """
    if isinstance(error, yaml.reader.ReaderError):
        return _unreadable(error, text)
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return SyntaxTrap(1, f"this is no YAML: {error}; {_QUOTE}")
    lines = text.splitlines() or [""]
    found = _by_line(_candidates(error, lines), lines)
    return found or _by_problem(error, last=len(lines))


def _unreadable(error: yaml.reader.ReaderError, text: str) -> SyntaxTrap:
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if found is None:  # the error's own position counts bytes or characters, as the parser likes
        return SyntaxTrap(1, f"YAML cannot be read: {error.reason}; {_QUOTE}")
    line = text.count("\n", 0, found.start()) + 1
    return SyntaxTrap(line, f"a character that YAML does not allow, U+{ord(found.group()):04X}: remove it")


def _candidates(error: yaml.MarkedYAMLError, lines: list[str]) -> list[int]:
    """Line numbers from 0: where parsing stopped, where its construct began, the line before."""
    last = len(lines) - 1  # the C parser may name the line after it
    stopped = min(error.problem_mark.line, last) if error.problem_mark else 0
    began = min(error.context_mark.line, last) if error.context_mark else stopped
    return list(dict.fromkeys((stopped, began, max(stopped - 1, 0))))


def _by_line(numbers: list[int], lines: list[str]) -> SyntaxTrap | None:
    for pattern, text in _BY_LINE:
        for number in numbers:
            if pattern.search(lines[number]):
                return SyntaxTrap(number + 1, text)
    return None


def _by_problem(error: yaml.MarkedYAMLError, last: int) -> SyntaxTrap:
    problem = f"{error.context or ''} {error.problem or ''}".strip()
    stopped = error.problem_mark.line if error.problem_mark else 0
    began = error.context_mark.line if error.context_mark else stopped
    for words, text in _BY_PROBLEM:
        if words in problem:
            return SyntaxTrap(min((began if " here is " in text else stopped) + 1, last), text)
    return SyntaxTrap(min(stopped + 1, last), f"YAML cannot be read here: {problem}; {_QUOTE}")
