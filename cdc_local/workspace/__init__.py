"""A Databricks workspace on this machine: the calls that the `databricks` command and the SDK make, one file an API.

May import every room but `cli` and `operations`. Begin at `server.py`; `*_api.py` lists the calls, the other files do the work.
"""
