"""Who carries short messages, one file per provider, with its double beside it."""
