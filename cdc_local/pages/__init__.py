"""Pages over a storage, for a browser on this machine: updates, their graph, their events; and reports.

They read and change nothing, and need no engine: Delta is read by delta-rs and DuckDB. May import `reports`
and what stands below it. Begin at `app.py`, which has the addresses; a page is a file that asks and a
template that shows. `guard.py` says who may look, `event_cache.py` reads the event log once,
`static/README.md` says what comes from others.
"""
