"""The pure core of the server: what an execution is, and what may happen to it next.

`decide` turns a request into events and effects; `evolve` is the only code that changes state. No I/O, no clock, no
randomness: time and ids come in as arguments.
"""
