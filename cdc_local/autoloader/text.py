"""Text of files: decoded, so that every reader of a table takes it."""

from pyspark.sql import Column
from pyspark.sql import functions as F


def decode_text(
    encoding: str,  # Character set of the files
) -> Column:  # Text of column value, which is a file or a line as Spark's `text` source reads it
    """Decode, replace what is no UTF-8, leave out the byte order mark; Spark refuses an encoding that it does
    not know. Its `text` source itself takes the option for the line separator's alone."""
    if encoding.upper() == "UTF-8":
        text = F.make_valid_utf8("value")
    else:
        text = F.decode(F.col("value").cast("binary"), encoding)
    return F.ltrim(text, F.lit("\ufeff"))
