"""The floor under a first update: Spark reads the files with the declared schema and writes one Delta table.
No rule, no history.

python benchmarks/floor.py LANDING TABLE    one write
python benchmarks/floor.py --show TABLE     twenty rows of a table, as Spark shows them"""

import sys

from cdc_local.engines.spark.session import start_spark
from cdc_utils import customers


def write_table(spark, landing, table):
    "Read every file of the landing folder and write it down."
    spark.read.schema(customers.SCHEMA).json(str(landing)).write.format("delta").save(str(table))


def main(arguments):
    spark = start_spark()
    if arguments[0] == "--show":
        spark.read.format("delta").load(arguments[1]).show()
    else:
        write_table(spark, *arguments)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1:])
