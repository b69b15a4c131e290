"""Recorded histories of every line of the workflow model, replayed on the programs that made them.

`goldens.py` is the table; `histories/` holds what was recorded, one event a line; `python -m tests.replay.record` runs
the programs on a real server and worker and writes the files again.
"""
