"""The program that reads routers while somebody watches, once for all who do, and passes on what the database tells.

Several may run: each router is read by one of them.
"""
