"""The pipeline as data: datasets, flows, expectations, and the modules `dp` and `dlt` that declare them.

May import `storage` and `errors`. Begin at `graph.py`.
"""
