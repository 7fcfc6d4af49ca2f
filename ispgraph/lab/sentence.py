"""One sentence of a client, read into its parts."""

from dataclasses import dataclass, field

from ispgraph.lab.kinds import Refused
from ispgraph.lab.wire import octets, text


@dataclass(slots=True)
class Sentence:
    """``command`` is the first word; ``problem`` is what is wrong with the others, to be answered under the tag."""

    command: str
    values: dict[str, str] = field(default_factory=dict)
    queries: list[str] = field(default_factory=list)
    tag: bytes | None = None
    problem: Refused | None = None


def read(words: list[bytes]) -> Sentence:
    found = Sentence(text(words[0]))
    for word in words[1:]:
        if word.startswith(b".tag="):
            found.tag = word[5:]
        elif word.startswith(b"="):
            # "=name" without a second equals sign is an empty value.
            name, _, value = text(word[1:]).partition("=")
            found.values[name] = value
        elif word.startswith(b"?"):
            found.queries.append(text(word))
        elif found.problem is None:
            found.problem = Refused(f"unknown parameter {text(word)}")
    return found


def reply(kind: str, values: dict[str, str] | None = None) -> list[bytes]:
    """The words of ``!re``, ``!done`` and the like, without a tag."""
    return [kind.encode(), *(octets(f"={name}={value}") for name, value in (values or {}).items())]


def trap(refused: Refused) -> list[bytes]:
    values = {"message": refused.message}
    if refused.category is not None:
        values = {"category": str(refused.category), **values}
    return reply("!trap", values)
