"""The columns of a read, and what fills each: the data, the names of folders, what is rescued, what is
corrupt."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from cdc_local.autoloader.partitions import partition_value


@dataclass(frozen=True)
class Layout:
    "The columns of a read and what fills each."

    schema: StructType  # All columns, in order
    rescued: str = ""  # Column for what fits no other; empty for none
    corrupt: str = "_corrupt_record"  # Column for unparsable records, filled if `schema` has it
    partitions: tuple[str, ...] = ()  # Columns taken from folder names
    root: str = ""  # The folder that is read: folders above it give no columns

    @property
    def data(self) -> list[StructField]:
        "The fields that are parsed out of the files."
        special = {self.rescued, self.corrupt, *self.partitions}
        return [field for field in self.schema.fields if field.name not in special]

    def spell(
        self,
        name: Column,  # A name as the file has it
    ) -> Column:  # As the layout spells it; unchanged if the layout has no such column in any case
        "Spell a name as it is declared."
        if not self.data:
            return name
        pairs = [F.lit(text) for field in self.data for text in (field.name.lower(), field.name)]
        return F.coalesce(F.create_map(*pairs)[F.lower(name)], name)


def assemble_columns(
    rows: DataFrame,  # Parsed rows
    layout: Layout,  # The columns wanted
    values: Mapping[str, Column],  # A column of the file, by name
    rescued: Column,  # What fits no column, as JSON text
    corrupt: Column,  # The unparsable record, NULL for others
) -> DataFrame:  # The columns of the layout, in its order
    "Choose the columns of a read."

    def value(field: StructField) -> Column:
        if field.name == layout.rescued:
            return rescued
        if field.name == layout.corrupt:
            return corrupt
        return partition_value(field, layout.root) if field.name in layout.partitions else values[field.name]

    return rows.select(*[value(field).alias(field.name) for field in layout.schema.fields])
