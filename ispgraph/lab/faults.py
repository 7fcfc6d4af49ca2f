"""What can go wrong on the API connection of a simulated router. All are off until somebody sets them."""

import random
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Trap:
    """An error that a command (``/ppp/secret/add``, or a menu, or ``*``) answers instead of being done."""

    path: str
    message: str
    category: int | None = None
    once: bool = True


@dataclass(slots=True)
class Faults:
    """Seconds are real ones, whatever the speed of the lab. Counts go down as they are used up.

    ``refuse``                     connections are refused
    ``hang``                       connections are accepted and never answered
    ``reset``                      connections are accepted and reset
    ``drop_after_bytes``           each connection ends after it was sent so many bytes
    ``drop_mid_word``, ``drop_mid_sentence``   the next reply breaks off inside a word, or between two words
    ``drip_seconds``               pause after every byte sent
    ``delay_done_seconds``         pause before each ``!done``
    ``delay_row_seconds``          pause in the middle of each table printed
    ``traps``                      errors that commands answer
    ``fatal_next``, ``fatal_chance``   ``!fatal`` to the next command, or to any with this chance (0 to 1)
    ``wrong_tags``                 so many replies carry another tag
    ``garbage``                    the next so many replies begin with a byte 0xFF
    ``failing_logins``             so many logins fail although the password is right
    ``flash_full``                 nothing that is stored can be changed
    ``lose_answers``               commands that are done, but whose connection ends before ``!done``; each once
    ``max_sessions``               so many connections may be logged in at once
    """

    refuse: bool = False
    hang: bool = False
    reset: bool = False
    drop_after_bytes: int | None = None
    drop_mid_word: bool = False
    drop_mid_sentence: bool = False
    drip_seconds: float = 0.0
    delay_done_seconds: float = 0.0
    delay_row_seconds: float = 0.0
    traps: list[Trap] = field(default_factory=list)
    fatal_next: bool = False
    fatal_chance: float = 0.0
    wrong_tags: int = 0
    garbage: int = 0
    failing_logins: int = 0
    flash_full: bool = False
    lose_answers: list[str] = field(default_factory=list)
    max_sessions: int | None = None
    seed: int = 0
    on_change: Callable[[], None] | None = field(default=None, repr=False, compare=False)
    _random: random.Random = field(default_factory=lambda: random.Random(0), repr=False, compare=False)  # noqa: S311

    def set(self, **values: Any) -> None:
        """Set some faults by name; traps may be mappings. Raises ValueError for a name or a value that is none."""
        checked = {name: _checked(name, value) for name, value in values.items()}
        for name, value in checked.items():
            setattr(self, name, value)
        if "seed" in checked:
            self._random = random.Random(self.seed)  # noqa: S311
        self._changed()

    def clear(self) -> None:
        """Everything works again."""
        for known in fields(self):
            if known.name in _DEFAULTS:
                setattr(self, known.name, _default(known.name))
        self._random = random.Random(0)  # noqa: S311
        self._changed()

    def take(self, name: str) -> bool:
        """Use up one of a fault that is a count or a single time; False when there is none left."""
        left = getattr(self, name)
        if left:
            setattr(self, name, left - 1 if type(left) is int else False)
        return bool(left)

    def fatal(self) -> bool:
        """Whether this command ends in ``!fatal``."""
        return self.take("fatal_next") or (self.fatal_chance > 0 and self._random.random() < self.fatal_chance)

    def trap(self, command: str) -> Trap | None:
        """The error that this command, such as ``/ppp/secret/add``, answers instead of being done."""
        for trap in self.traps:
            if trap.path == "*" or command == trap.path or command.startswith(f"{trap.path}/"):
                if trap.once:
                    self.traps = [other for other in self.traps if other is not trap]
                return trap
        return None

    def loses_answer(self, command: str) -> bool:
        """Whether the connection ends now that this command is done."""
        if command not in self.lose_answers:
            return False
        left = list(self.lose_answers)
        left.remove(command)
        self.lose_answers = left
        return True

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()


_DEFAULTS: dict[str, Any] = {
    known.name: known.default if known.default is not MISSING else list
    for known in fields(Faults)
    if known.name not in ("on_change", "_random")
}


def _default(name: str) -> Any:
    default = _DEFAULTS[name]
    return [] if default is list else default


def _checked(name: str, value: Any) -> Any:
    if name not in _DEFAULTS:
        raise ValueError(f"there is no fault {name}")
    default = _default(name)
    if name == "traps" and isinstance(value, list):
        return [_trap(trap) for trap in value]
    if name == "lose_answers" and isinstance(value, list) and all(isinstance(path, str) for path in value):
        return list(value)
    if isinstance(default, bool) and isinstance(value, bool):
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    if isinstance(default, float) and number:
        return float(value)
    if (default is None and value is None) or (
        (default is None or type(default) is int) and number and isinstance(value, int)
    ):
        return value
    raise ValueError(f"{name} cannot be {value!r}")


def _trap(value: Any) -> Trap:
    if isinstance(value, Trap):
        return value
    try:
        return Trap(**value)
    except TypeError as error:
        raise ValueError(f"a trap has a path, a message, and may have a category and once: {error}") from None


@dataclass(slots=True)
class Counters:
    """What happened on the API of one router since it was made."""

    connections: int = 0
    highest_connections: int = 0
    logins: int = 0
    failed_logins: int = 0
    commands: dict[str, int] = field(default_factory=dict)
