"""What operators fill in of an account with a provider: checked against what the provider asks for."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ispgraph.domain import outside
from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.gateway_providers import Provider, Setting

_LONGEST, _LONGEST_OF = 1000, {"template": 4000, "headers": 4000, "ca_certificate": 20_000}
_OF_LINES = ("headers", "template", "ca_certificate")


@dataclass(frozen=True, slots=True)
class Filled:
    """All settings of an account, those that may be shown apart from the others."""

    shown: Mapping[str, str]
    hidden: Mapping[str, str]


def fill(
    faults: Faults, provider: Provider, now: Mapping[str, str], given: Sequence[tuple[str, str]], *, private: bool
) -> Filled:
    """What an account has from now on: what is given takes the place of what there was, an empty text of nothing.

    Every fault is added under ``settings`` and the name. `private`: whether addresses of our own network may be meant.
    """
    asked = {setting.name: setting for setting in provider.settings}
    values = {name: value for name, value in now.items() if name in asked}
    wrong: dict[str, str] = {}
    seen: set[str] = set()
    for name, raw in given:
        if name not in asked:
            faults.add(ErrorCode.INVALID, f"{provider.label} has no setting of this name.", "settings", name)
            continue
        if name in seen:
            wrong[name] = "This is given twice."
        seen.add(name)
        values[name] = raw if asked[name].secret else raw.replace("\r\n", "\n").strip()
    values = {name: value for name, value in values.items() if value}
    for name in seen & values.keys():
        if problem := _problem(asked[name], values[name], private):
            wrong.setdefault(name, problem)
    if provider.check is not None:
        for name, problem in provider.check(with_defaults(provider, values)).items():
            wrong.setdefault(name, problem)
    for name, setting in asked.items():
        if setting.required and not setting.default and name not in values:
            faults.add(ErrorCode.REQUIRED, "This is required.", "settings", name)
        elif name in wrong:
            faults.add(ErrorCode.INVALID, wrong[name], "settings", name)
    return Filled(
        {name: value for name, value in values.items() if not asked[name].secret},
        {name: value for name, value in values.items() if asked[name].secret},
    )


def with_defaults(provider: Provider, values: Mapping[str, str]) -> dict[str, str]:
    """Settings with what counts for those that were left empty."""
    defaults = {setting.name: setting.default for setting in provider.settings if setting.default}
    return defaults | dict(values)


def _problem(setting: Setting, value: str, private: bool) -> str | None:
    longest = _LONGEST_OF.get(setting.name, _LONGEST)
    if len(value) > longest:
        return f"This must have at most {longest} characters."
    plain = value.replace("\n", "") if setting.name in _OF_LINES else value
    if not plain.isprintable():
        return "This contains characters that cannot be shown."
    if setting.choices and value not in setting.choices:
        return f"This must be one of: {', '.join(setting.choices)}."
    try:
        if setting.name in ("url", "base_url"):
            outside.check_url(value, private=private)
        elif setting.name == "host":
            outside.check_host(value, private=private)
        elif setting.name == "port" and not (value.isascii() and value.isdigit() and 1 <= int(value) <= 65535):
            return "A port is a number from 1 to 65535."
        elif setting.name == "ca_certificate":
            ssl.create_default_context(cadata=value)
    except ssl.SSLError:
        return "This is no certificate in PEM."
    except ValueError as error:
        return str(error)
    return None
