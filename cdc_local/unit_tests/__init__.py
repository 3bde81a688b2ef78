"""Unit tests of a pipeline, as data: rows that are given, an update, rows that are expected.

May import every room but `cli`, `operations` and `workspace`. Begin at `plugin.py`, which is what pytest
loads; `declarations.py` is what a file may say, `pipeline.py` runs the part of a pipeline that a test is
about, `check.py` compares what came out.
"""
