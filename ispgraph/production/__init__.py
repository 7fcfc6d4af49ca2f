"""What it takes to run the programs in production: see `ispgraph production-files`."""
