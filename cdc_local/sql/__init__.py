"""Lakeflow's SQL: words, statements, names, the clauses of AUTO CDC.

May import `autoloader`, `dataflow`, `source`, `engines` and what stands below them. Begin at `statements.py`.
"""
