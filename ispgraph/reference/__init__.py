"""The reference documentation: the schema and the collection of operations as pages without a server or a network.

`collection` reads the operations, `markup` turns words and types into HTML, `pages` is what the pages say, and `site`
writes them, with the style and the search beside them.
"""
