"""What the network should do for a service, and bringing it there.

A change of a service bumps its `desired_version` and promises jobs (`changes`). A job loads the latest state
(`desired`), compares it with what is there (`items` for what a router holds itself), changes that, looks again, and
records each step (`outcomes`). The jobs of one router take turns on its lane (`lanes`); while it is out of reach they
wait, and those that have become wrong are not carried out.
"""
