"""Formats that Spark's own reader parses: text, Parquet, ORC, XML, binary files, and CSV that rescues
nothing.

What fits no column is not rescued: a wrong type stops the read, a column that nobody declared is left out.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from cdc_local.autoloader.file_formats import TEXT
from cdc_local.autoloader.files import FileSource
from cdc_local.autoloader.layout import Layout, assemble_columns
from cdc_local.sql_names import quote_for_spark


def read_with_spark(
    source: FileSource,  # The files
    layout: Layout,  # The columns wanted
) -> DataFrame:  # The columns of the layout, in its order; the rescued one is NULL
    "Read files with Spark's reader of their format."
    options, fields = source.options, layout.data
    if options.format.has_corrupt_column:
        fields = fields + [field for field in layout.schema.fields if field.name == layout.corrupt]
    schema = StructType(fields)
    reader_options = {**options.parser_options, **options.record_options}
    rows = source.load(options.format.name, reader_options, schema)
    values = {field.name: F.col(quote_for_spark(field.name)) for field in schema.fields}
    if options.format is TEXT:
        values = {name: F.make_valid_utf8(value) for name, value in values.items()}
    nothing = F.lit(None).cast("string")
    return assemble_columns(rows, layout, values, nothing, values.get(layout.corrupt, nothing))
