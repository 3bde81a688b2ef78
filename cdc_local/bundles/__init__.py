"""An asset bundle: read, checked and run.

May import `update`, `jobs` and what stands below them. Begin at `bundle.py`, which reads one; `check.py`
finds its mistakes, and `run.py` runs its jobs and pipelines.
"""
