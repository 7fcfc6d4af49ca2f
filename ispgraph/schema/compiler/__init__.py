"""Selections compiled to SQL: one statement for a field and everything selected below it.

Read in this order: `sources` (where values come from), `fields` (how a schema type says so), `selection` (what a
document asks for), `statement` (the SQL of it), `plans` (kept statements and their values), `executor` (where
graphql-core meets all this), `computed` (what Python adds), `loading` (the same without the compiler).
"""
