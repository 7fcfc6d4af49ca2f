"""What a source of customers is read as. All values are text as the source has it; an empty one was not given."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One customer with one service, by canonical column. `number` is where it stands in the source, from 1."""

    number: int
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """One package that the source sells, by canonical column."""

    number: int
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Problem:
    """What could not be read, in a column or as a whole; the message is for people."""

    number: int
    column: str | None
    message: str
