"""Tasks of a job: their order, their processes, notebooks in kernels.

May import `sql` and what stands below it. Begin at `scheduler.py`.
"""
