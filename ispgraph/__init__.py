"""ispgraph: the backend of an internet service provider behind one GraphQL schema."""

__version__ = "0.1.0"
