"""Auto Loader: files in, each exactly once, and every value in some column; the same rows on either engine.

May import `engines`, `storage`, `sql_names` and `errors`. Begin at `read.py`, where a stream and one read
open files; `file_formats.py` lists the formats, `options.py` the options.

On Spark, `json_documents.py`, `csv_lines.py` and `spark_formats.py` describe the rows as a query. For Sail,
`arrow_rows.py` reads files here, with `json_rows.py`, `csv_rows.py`, `parquet_rows.py`; what is not known to
come out as on Spark is refused by name, and Spark reads it."""
