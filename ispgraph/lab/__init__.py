"""A simulated MikroTik network for the demo, the tests and the benchmarks.

It shares no code with the product: what the product says to a router is judged here by other eyes.
"""
