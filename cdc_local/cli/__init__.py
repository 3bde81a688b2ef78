"""The command `cdc`, one file a command or a group of commands.

May import every room; what is heavy (Spark, DuckDB, pandas) is imported inside functions, so that
`cdc --help` answers at once. Begin at `main.py`, which lists the commands; `run.py` is `cdc run`.
"""
