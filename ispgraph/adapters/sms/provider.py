"""A provider that is spoken to over HTTP: what its adapters have in common."""

from collections.abc import Sequence

import httpx

from ispgraph.adapters.letters import Report
from ispgraph.adapters.sms import answers
from ispgraph.domain.gateways import Opened


class HttpProvider:
    """An account with one. `report_url` is where its reports come to, as it was told."""

    base_url: str
    """Where it is, without a slash at the end; a setting of this name takes its place."""
    secrets: Sequence[str] = ()
    """The names of the settings that nobody may read in an error."""

    def __init__(self, account: Opened, client: httpx.AsyncClient, report_url: str) -> None:
        self._account = account
        self._set = account.settings
        self._client = client
        self._report_url = report_url

    @property
    def _base(self) -> str:
        return self._set.get("base_url", self.base_url).rstrip("/")

    async def reports(self) -> list[Report]:
        """None come by themselves."""
        return []

    async def close(self) -> None:
        """The client is not ours to close."""

    def _shown(self, text: str) -> str:
        """What the provider said, fit to show."""
        return answers.said(text, [self._set.get(name, "") for name in self.secrets])
