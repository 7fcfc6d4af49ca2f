"""``python -m ispgraph`` is the command ``ispgraph``."""

from ispgraph.cli import main

main()
