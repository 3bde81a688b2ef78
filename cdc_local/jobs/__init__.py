"""Tasks of a job: their order, their processes, notebooks in kernels.

May import `sql` and what stands below it. Begin at `scheduler.py`, which says when a task runs; `tasks.py`
says which program does its work, and `processes.py` runs that.
"""
