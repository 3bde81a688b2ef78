"""A new project, written from a look at a sample of its feed: `cdc init`.

May import every room but `cli`, `operations`, `workspace` and `unit_tests`. Begin at `plan.py`, which decides
what the project is about and refuses what is not clear; `sample.py` reads the sample, `kinds.py` knows how
each tool's rows look, `files.py` writes the project from `templates/`.
"""
