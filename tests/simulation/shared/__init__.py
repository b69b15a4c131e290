"""Worlds whose servers each own a share of the shards, as in production.

The real composition root, membership, forwarding and deliveries run; what is here stands for sockets and tables.
"""
