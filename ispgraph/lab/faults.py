"""What can go wrong on the API connection of a simulated router. All are off until somebody sets them."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field


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
    ``lose_answers``               paths of commands that are done, but whose connection ends before ``!done``; each once
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
    _random: random.Random | None = field(default=None, repr=False, compare=False)

    def set(self, **values: object) -> None:
        """Set some faults by name. Raises ValueError for a name or a value that is none, and then sets nothing."""
        raise NotImplementedError

    def clear(self) -> None:
        """Everything works again."""
        raise NotImplementedError


@dataclass(slots=True)
class Counters:
    """What happened on the API of one router since it was made."""

    connections: int = 0
    highest_connections: int = 0
    logins: int = 0
    failed_logins: int = 0
    commands: dict[str, int] = field(default_factory=dict)
