"""One update: what is asked, the tables set up, the flows run, their rows counted, the event log.

May import `analysis` and what stands below it. Begin at `run.py`; each kind of flow has a file named after it.
"""
