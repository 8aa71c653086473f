# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Mistakes: what one is, how a value is named in it, and how many of them are laid out for a person."""

from __future__ import annotations

import datetime
import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Callable

# Raises ValueError when the expression does not compile.
Compiler = Callable[[str], object]
# What is wrong, and how to mend it.
Fault = tuple[str, str]


@dataclass(frozen=True)
class Problem:
    """One mistake. `origin` is the file and line it was written in, where that is known."""

    path: str
    what: str
    remedy: str
    origin: str = ""


class Reading:
    """Collects the problems of one reading and carries the compiler of JMESPath expressions."""

    def __init__(self, compile_expression: Compiler | None = None) -> None:
        self.problems: list[Problem] = []
        self.compile_expression = compile_expression

    def add(self, path: str, what: str, remedy: str) -> None:
        problem = Problem(path, what, remedy)
        if problem not in self.problems:
            self.problems.append(problem)

    def touches(self, *paths: str) -> bool:
        """Whether a problem was found at, below or above one of the paths: rules over them then say nothing new."""
        return any(_related(problem.path, path) for problem in self.problems for path in paths)

    def refused(self, path: str) -> bool:
        """Whether a problem was found at or below the path."""
        return any(problem.path == path or _below(problem.path, path) for problem in self.problems)


def _related(one: str, other: str) -> bool:
    return one == other or _below(one, other) or _below(other, one)


def _below(path: str, parent: str) -> bool:
    return path.startswith(parent + ".") or path.startswith(parent + "[")


def closest(word: object, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The candidate that a misspelt word was probably meant to be."""
    lowered = {candidate.lower(): candidate for candidate in candidates}
    found = difflib.get_close_matches(str(word).lower(), list(lowered), n=1, cutoff=cutoff)
    return lowered[found[0]] if found else None


def did_you_mean(word: object, candidates: Sequence[str], noun: str) -> str:
    """The remedy for an unknown word."""
    guess = closest(word, candidates)
    if guess:
        return f"Did you mean {guess}?"
    return "Known {}: {}".format(noun, ", ".join(candidates)) if candidates else f"No {noun} is known"


def shorten(text: str, width: int = 60) -> str:
    """The text on one line, cut to the width, with nothing in it that could disturb a terminal."""
    clean = "".join(character if character.isprintable() else "?" for character in text)
    return clean if len(clean) <= width else clean[: width - 3] + "..."


def key_text(key: object) -> str:
    """A mapping's key as it stands in a path; YAML keys may be of any type."""
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, str):
        return shorten(key, 80)
    return shorten(show_number(key), 80) if isinstance(key, (int, float)) else shorten(repr(key), 80)


def show_number(value: object) -> str:
    # Python refuses to print integers of thousands of digits.
    if isinstance(value, int) and value.bit_length() > 256:
        return "of more than 70 digits"
    if isinstance(value, float) and math.isnan(value):
        return ".nan"
    if isinstance(value, float) and math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    return str(value)


def show(value: object) -> str:
    """A value as a message names it: with its type, for most mistakes of this kind are mistakes of type."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "the boolean {}".format("true" if value else "false")
    if isinstance(value, (int, float)):
        return f"the number {show_number(value)}"
    if isinstance(value, str):
        return f"the text '{shorten(value)}'" if value else "an empty text"
    if isinstance(value, (datetime.date, datetime.datetime)):
        return f"the date {value.isoformat()}"
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, (list, tuple)) else f"a {type(value).__name__}"


def count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else text + "."


def line(problem: Problem) -> str:
    """The problem on one line: `path: what. remedy.`, with the place it was written in."""
    origin = f" ({problem.origin})" if problem.origin else ""
    return f"{problem.path}: {_sentence(problem.what)} {_sentence(problem.remedy)}{origin}"


def lay_out(headline: str, problems: Sequence[Problem]) -> str:
    """The headline, then every problem on a line of its own."""
    return "\n".join([f"{headline}:", *(f"- {line(problem)}" for problem in problems)])


def lay_out_numbered(headline: str, problems: Sequence[Problem]) -> str:
    """The headline, then numbered `where: what` with the remedy, and the place in the inventory, below."""
    lines = [headline]
    width = len(str(len(problems)))
    for number, problem in enumerate(problems, 1):
        indent = " " * (width + 2)
        lines.append(f"{str(number).rjust(width)}. {problem.path}: {problem.what}")
        lines.append(f"{indent}remedy: {problem.remedy}")
        if problem.origin:
            lines.append(f"{indent}written in {problem.origin}")
    return "\n".join(lines)
