"""The whole product on one machine: a data directory, embedded servers, supervised programs."""
