"""Delta tables: their log, their rows, their files, how they are written, and how far a stream has read them.

May import `engines`, `storage`, `sql_names` and `errors`. Begin at `reader.py` for what is read,
at `writer.py` for what is written; `choice.py` says who writes, delta-rs or Spark.
"""
