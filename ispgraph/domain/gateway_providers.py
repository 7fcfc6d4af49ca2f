"""What has to be known of each provider before it can be used: the forms that operators fill in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ispgraph.domain.models.gateways import GatewayKind


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing to be filled in."""

    name: str
    label: str
    secret: bool = False
    """Sealed where it rests, and never shown again."""
    required: bool = True
    default: str = ""
    choices: tuple[str, ...] = ()
    """What it has to be one of; empty: any text."""
    note: str = ""
    """Where it is found at the provider, and in which form."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One kind of account."""

    slug: str
    """As the adapter's file is named."""
    kind: GatewayKind
    label: str
    settings: tuple[Setting, ...]
    currencies: tuple[str, ...] = ()
    """In which money can be taken (ISO 4217); empty: any."""
    check: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None
    """Looks at all settings together, the defaults among them: what is wrong, in words for a person, by name."""
