"""Which function carries out which kind of job."""

from collections.abc import Awaitable, Callable

from ispgraph.actors import network
from ispgraph.actors.run import Run
from ispgraph.domain import jobs

Action = Callable[[Run], Awaitable[None]]

ACTIONS: dict[str, Action] = {
    jobs.PROVISION: network.provision,
}
