"""A Databricks workspace on this machine: the calls that the `databricks` command and the SDK make.

May import every room but `cli` and `operations`. To change a call, begin at the file of its API, `*_api.py`:
its table names the function that answers. What these functions do to files, notes and runs stands in the
other files; `app.py` and `request.py` are HTTP, `server.py` is the port, the token and the lock.
"""
