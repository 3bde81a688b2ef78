"""What is printed of an update or a job, while it runs and when it has ended.

May import `update` and what stands below it. Begin at `update.py`, which shows an update; `tables.py` is the
style of all.
"""
