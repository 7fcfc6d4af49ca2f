"""Reads a page as a browser without scripts does: its forms, and what stands on it."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx


@dataclass
class Form:
    """One form: where it goes, and what it holds."""

    action: str | None
    fields: dict[str, str] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)


class Page(HTMLParser):
    """A page that was answered."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        self.status, self.headers = answer.status_code, answer.headers
        self.forms: list[Form] = []
        self.facts: dict[str, str] = {}
        self.text = ""
        self.alert = ""
        self.scripts = 0
        self.visible: set[str] = set()
        self._inside: list[str] = []
        self._term = ""
        self._alert = False
        self.feed(answer.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given: dict[str, Any] = dict(attrs)
        self._inside.append(tag)
        self._alert = self._alert or given.get("role") == "alert"
        self.scripts += tag == "script" or any(name.startswith("on") for name in given)
        if tag == "form":
            self.forms.append(Form(given.get("action")))
        elif tag == "input" and self.forms:
            if given.get("type") not in ("checkbox",) or "checked" in given:
                self.forms[-1].fields[given["name"]] = given.get("value", "")
            if given.get("type") != "hidden":
                self.visible.add(given["id"])
        elif tag == "label" and self.forms:
            self.forms[-1].labels.add(given["for"])

    def handle_endtag(self, tag: str) -> None:
        self._alert = self._alert and tag != "p"

    def handle_data(self, data: str) -> None:
        inside = self._inside[-1] if self._inside else ""
        if inside == "style":
            return
        self.text += data
        self.alert += data if self._alert else ""
        if inside == "dt":
            self._term = data
        elif inside == "dd":
            self.facts[self._term] = data
