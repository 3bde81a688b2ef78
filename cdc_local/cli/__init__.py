"""The command `cdc`, one file a group of commands.

May import every room. Begin at `main.py`, which puts the groups together; `run.py` is `cdc run`.
"""
