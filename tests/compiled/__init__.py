"""The compiled reads, held against graphql-core and against everyone else's rows."""
