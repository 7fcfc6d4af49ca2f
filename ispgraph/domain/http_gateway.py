"""The language in which a gateway on HTTP is described: its template, headers, rules, and what of them can be meant."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

PLACES = ("to", "number", "body", "reference", "sender", "report_url", "unicode", "token", "username", "password")
"""What may stand in braces. `to` is in E.164 form, `number` the same without its plus; `unicode` is 1 when the text
needs more than the alphabet of every phone, else 0."""

_PLACE = re.compile(r"\{(" + "|".join(PLACES) + r")\}")
_LIKE_A_PLACE = re.compile(r"\{([a-z_]+)\}")
_HEADER = re.compile(r"([A-Za-z0-9-]{1,60}):[ \t]*([\x20-\x7e]*)")
_RESERVED_HEADERS = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}
_PATH = re.compile(r"[A-Za-z0-9_@$ -]+(\.[A-Za-z0-9_@$ -]+)*")
_STATUSES = re.compile(r"([1-5]xx|[1-5][0-9]{2})(, ?([1-5]xx|[1-5][0-9]{2}))*")
_LONGEST_EXPRESSION = 200


def filled(template: str, values: Mapping[str, str]) -> str:
    """A text with its places filled in. What is filled in is not looked at again."""
    return _PLACE.sub(lambda place: values[place.group(1)], template)


def filled_json(template: str, values: Mapping[str, str]) -> bytes:
    """A JSON template with the places in its texts filled in."""

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return filled(value, values)
        if isinstance(value, list):
            return [walk(each) for each in value]
        if isinstance(value, dict):
            return {name: walk(each) for name, each in value.items()}
        return value

    return json.dumps(walk(json.loads(template)), ensure_ascii=False).encode()


def headers(text: str) -> list[tuple[str, str]]:
    """Lines of the form ``Name: value``. Raises ValueError with words for a person."""
    found = []
    for line in filter(None, (each.strip() for each in text.splitlines())):
        match = _HEADER.fullmatch(line)
        if match is None:
            raise ValueError("Write each header on a line of its own, as Name: value.")
        if match.group(1).lower() in _RESERVED_HEADERS:
            raise ValueError(f"The header {match.group(1)} is not for settings to choose.")
        _known_places(match.group(2))
        found.append((match.group(1), match.group(2)))
    return found


def check(settings: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with a description, in words for a person, by the name of the setting."""
    wrong: dict[str, str] = {}

    def attempt(name: str, look: Any) -> None:
        try:
            look(settings.get(name, ""))
        except ValueError as error:
            wrong[name] = str(error)

    attempt("url", lambda text: _known_places(urlsplit(text).query))
    attempt("headers", headers)
    attempt("template", lambda text: _check_template(text, settings.get("content", "form")))
    if (settings.get("method"), settings.get("content")) in {("GET", "form"), ("GET", "json")}:
        wrong["content"] = "A GET request has no body: choose query."
    attempt("success_status", _check_statuses)
    rule = settings.get("success_rule", "status")
    if rule == "json" and not settings.get("success_path"):
        wrong["success_path"] = "The rule json needs the path of what it compares."
    if rule != "status" and not settings.get("success_value"):
        wrong["success_value"] = f"The rule {rule} needs what it looks for."
    elif rule == "regex":
        attempt("success_value", _check_expression)
    attempt("reference_pattern", lambda text: _check_expression(text, groups=1) if text else None)
    for name in ("success_path", "reference_path", "error_path", *_REPORTS):
        if (path := settings.get(name)) and not _PATH.fullmatch(path):
            wrong[name] = "Write a path as names and numbers with dots between them, as in messages.0.id."
    if settings.get("report_status"):
        if not settings.get("report_secret"):
            wrong |= {"report_secret": "Delivery reports need a secret, or anybody could send them."}
        if not (settings.get("report_id") or settings.get("report_reference")):
            wrong["report_id"] = "Delivery reports need to name the message: give report_id or report_reference."
        if not settings.get("report_delivered"):
            wrong["report_delivered"] = "Say which states mean that a message was delivered."
    return wrong


_REPORTS = ("report_id", "report_reference", "report_status", "report_reason")


def _check_template(text: str, kind: str) -> None:
    if kind == "json":
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError("This is not JSON. Places such as {body} stand inside of its texts.") from error
    elif text and not parse_qsl(text):
        raise ValueError("Write it as name={to}&other={body}.")
    _known_places(text)


def _known_places(text: str) -> None:
    for place in _LIKE_A_PLACE.findall(text):
        if place not in PLACES:
            raise ValueError(f"There is nothing to fill in for {{{place}}}: there are {', '.join(PLACES)}.")


def _check_statuses(text: str) -> None:
    if text and not _STATUSES.fullmatch(text):
        raise ValueError("Write statuses as 200,201 or 2xx.")


def _check_expression(text: str, groups: int = 0) -> None:
    # An expression with repeated groups, or with many repetitions, may take for ever to find that it does not fit.
    if len(text) > _LONGEST_EXPRESSION or re.search(r"\)[*+?{]|\\[1-9]|\(\?P?[=<]", text):
        raise ValueError("The expression may not repeat a group, nor refer to one, nor look behind.")
    if len(re.findall(r"[*+{]", text)) > 2:
        raise ValueError("The expression may have two repetitions at most.")
    try:
        found = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"This is not a regular expression: {error.msg}.") from error
    if groups and found != groups:
        raise ValueError("The expression needs one group in brackets: what is inside is taken.")
