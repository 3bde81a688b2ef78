"""One update: what is asked, the tables set up, the flows run, their rows counted, the event log.

May import `jobs`, `analysis` and what stands below them. Begin at `run.py`. Each kind of flow has a file
named after it (`append_flow.py`, `auto_cdc_flow.py`, `snapshot_flow.py`, `materialized_view.py`, `sink.py`);
`flow_strategy.py` is what they share, and `strategies.py` chooses. Which rows are new is decided in
`streaming_flow.py`, with the log of `progress.py`.
"""
