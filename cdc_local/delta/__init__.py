"""Delta tables: their log, their rows, which of them are new, their files, how they are written.

May import `engines`, `storage`, `sql_names` and `errors`. Begin at `reader.py` for what is read,
at `writer.py` for what is written; `choice.py` says who writes, delta-rs or Spark; `new_files.py` says
which rows commits have added.
"""
