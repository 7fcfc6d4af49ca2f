"""Selections compiled to SQL: one statement for a field and everything selected below it.

Read in this order: `sources` (where values come from), `fields` (how a schema type says so), `selection` and
`arguments` (what a document asks for), `statement`, `connection`, `forms` and `printing` (the SQL of it), `plans` (kept
statements and their values), `reading` (what resolvers answer with), `executor` (where graphql-core meets all this),
`computed` (what Python adds), `loading` (the same without the compiler).
"""
