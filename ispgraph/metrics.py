"""What the programs count, for Prometheus: durations in seconds, names as its guide wants them.

A program shows it on a port of its own, which is nobody's but the monitoring's: figures of all tenants stand there.
No label holds anything of a tenant.
"""

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from ispgraph.settings import Settings, SettingsError

_QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_MANY = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_SLOW = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 3600.0)

REQUESTS = Histogram(
    "ispgraph_request_seconds",
    "GraphQL requests over HTTP until the answer is ready. code: OK, or extensions.code of the first error.",
    ["code"],
    buckets=_QUICK,
)
MUTATIONS = Counter(
    "ispgraph_mutations",
    "Mutations by root field. outcome: DONE, REFUSED (the payload has errors), or ERROR.",
    ["field", "outcome"],
)
REFUSALS = Counter(
    "ispgraph_refusals", "Expected failures of mutations by root field and error code.", ["field", "code"]
)
SOCKETS = Gauge("ispgraph_sockets", "Open WebSocket connections.")
JOBS = Histogram(
    "ispgraph_job_seconds",
    "Runs of jobs but those over routers. outcome: DONE, AGAIN (will be tried again, or waits), FAILED, STOPPED.",
    ["kind", "outcome"],
    buckets=_SLOW,
)
TURNS = Histogram("ispgraph_router_turn_seconds", "Turns on routers, each with all jobs that waited.", buckets=_SLOW)
READINGS = Counter(
    "ispgraph_router_readings", "Routers read for those who watch live usage. outcome: DONE, FAILED.", ["outcome"]
)
INTERIMS = Histogram(
    "ispgraph_interims_together", "Interims that `ispgraph interims` stored by one statement.", buckets=_MANY
)
REPLICA_READS = Counter(
    "ispgraph_replica_reads",
    "Readings that may go to the replica. outcome: REPLICA, or why the primary was asked: BEHIND, AWAY, FAILED.",
    ["outcome"],
)
REPLICA_LAG = Gauge("ispgraph_replica_lag_seconds", "How far the replica is behind, as this program last saw it.")
ALONE = Gauge("ispgraph_scheduler_works", "1 in the scheduler that works, 0 in those that stand by.")
TICKED = Gauge("ispgraph_scheduler_tick_timestamp_seconds", "When the scheduler that works last began its round.")

# Of the whole installation; the scheduler that works asks the database.
FIGURES = {
    name: Gauge(f"ispgraph_{name}", text, ["of"])
    for name, text in {
        "jobs_due": "Jobs that should have begun, by kind.",
        "jobs_overdue_seconds": "For how long the oldest of them has been due, by kind.",
        "routers": "Routers by status, as they were last seen.",
        "routers_left_alone": "Routers that did not answer three times and are asked again later.",
        "routers_without_accounting": "RADIUS clients of which no accounting came for 15 minutes.",
        "sessions_open": "Sessions that are open.",
        "accounting_waiting": "Accounting packets that are kept and not yet in the books.",
        "accounting_lag_seconds": "For how long the oldest of them waits.",
        "messages_due": "SMS and e-mails that should have been sent.",
        "billing_runs_unfinished": "Billing runs that have not ended.",
        "billing_last_failed": "Services that the last run of each tenant could not bill.",
        "billing_last_age_seconds": "The age of the newest billing run of all.",
    }.items()
}


def serve(settings: Settings) -> None:
    """Show the figures of this program, where settings say so. Raises SettingsError when the port is taken."""
    if not settings.metrics_port:
        return
    try:
        start_http_server(settings.metrics_port, settings.metrics_host)
    except OSError as error:
        place = f"{settings.metrics_host}:{settings.metrics_port}"
        raise SettingsError(f"ISPGRAPH_METRICS_PORT: cannot listen on {place} ({error.strerror})") from None
