"""Query words of ``print``: a small stack machine over the properties of an item.

Values that are left on the stack at the end must all be true.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ispgraph.lab.kinds import Refused, milliseconds

Reader = Callable[[str], str | None]
_STEP = re.compile(r"\d+|[!&|.]")


@dataclass(frozen=True, slots=True)
class Test:
    """Pushes whether a property is there (``has``), is not (``lacks``), or compares with a value."""

    kind: Literal["has", "lacks", "=", "<", ">"]
    name: str
    value: str = ""

    def passes(self, read: Reader) -> bool:
        found = read(self.name)
        match self.kind:
            case "has":
                return found is not None
            case "lacks":
                return found is None
            case "=":
                return found == self.value
        return found is not None and _compare(found, self.value) == (-1 if self.kind == "<" else 1)


@dataclass(frozen=True, slots=True)
class Query:
    """The words after ``print`` that begin with a question mark, in their order."""

    words: tuple[Test | str, ...]

    def matches(self, read: Reader) -> bool:
        """Whether an item with these properties is wanted. Raises Refused when an operation lacks values."""
        stack: list[bool] = []
        for word in self.words:
            if isinstance(word, Test):
                stack.append(word.passes(read))
            else:
                _operate(stack, word)
        return all(stack)

    def certain(self) -> dict[str, str]:
        """Properties that must have exactly this value in whatever matches, for a look into an index."""
        if any(isinstance(word, str) and set(word) - {"&"} for word in self.words):
            return {}
        return {word.name: word.value for word in self.words if isinstance(word, Test) and word.kind == "="}


def parse(words: list[str]) -> Query:
    """Query words with their question mark."""
    return Query(tuple(_word(word[1:]) for word in words))


def _word(text: str) -> Test | str:
    if text.startswith("#"):
        return text[1:]
    if text.startswith("-"):
        return Test("lacks", text[1:])
    kind: Literal["=", "<", ">"] = "="
    if text[:1] in ("<", ">"):
        kind = "<" if text[0] == "<" else ">"
        text = text[1:]
    elif text.startswith("="):
        text = text[1:]
    elif "=" not in text:
        return Test("has", text)
    name, _, value = text.partition("=")
    return Test(kind, name, value)


def _operate(stack: list[bool], operations: str) -> None:
    """Digits are an index from the top: alone at the end they leave that value only, otherwise they push a copy."""
    at = 0
    try:
        while at < len(operations):
            step = _STEP.match(operations, at)
            if step is None:
                raise Refused("invalid query", 5)
            sign, after_index = step[0], at > 0 and operations[at - 1].isdigit()
            at = step.end()
            if sign.isdigit():
                value = stack[-1 - int(sign)]
                if at == len(operations):
                    stack[:] = [value]
                else:
                    stack.append(value)
            elif sign == "!":
                stack.append(not stack.pop())
            elif sign == ".":
                if not after_index:
                    stack.append(stack[-1])
            else:
                last, first = stack.pop(), stack.pop()
                stack.append(first and last if sign == "&" else first or last)
    except IndexError:
        raise Refused("invalid query", 5) from None


def _compare(left: str, right: str) -> int:
    """-1, 0 or 1; numbers and durations by their size, other values as text."""
    # A plain number is a duration of so many seconds.
    first, second = milliseconds(left), milliseconds(right)
    if first is not None and second is not None:
        return (first > second) - (first < second)
    return (left > right) - (left < right)
