"""Auto Loader on open-source Spark: files in, each exactly once, and every value in some column.

May import `engines`, `storage`, `sql_names` and `errors`. Begin at `read.py`, where a stream and one read
open files; `file_formats.py` lists the formats, `options.py` the options."""
