"""Delta tables: their log, what reads and writes them without Spark, how far a stream has read.

May import `engines`, `storage` and `errors`. Begin at `reader.py` or `writer.py`.
"""
