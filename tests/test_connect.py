"""The pure chapters on Spark Connect, which is what serverless runs: the same answers, from a process of its own."""
import os
import subprocess
import sys

import pytest

pytest.importorskip('grpc', reason='Spark Connect needs grpcio, grpcio-status, googleapis-common-protos and zstandard')

SCRIPT = '''
import sys
from pyspark.sql import SparkSession, functions as F
from cdc_utils import bronze, gold, quality, silver

spark = SparkSession.builder.remote('local[1]').getOrCreate()
assert 'connect' in type(spark).__module__, type(spark)
schema = bronze.with_corrupt_record('id string, operation string, age string')
rules = {'id_known': 'id IS NOT NULL', 'age_ok': 'age >= 0', 'not_corrupt': '_corrupt_record IS NULL'}

def silver_rows(reader):
    changes = bronze.with_origin(reader.schema(schema).json(sys.argv[1]))
    return silver.conform(changes, text=['id'], upper='operation', casts={'age': 'int'})

changes = silver_rows(spark.read)
assert [tuple(row)[:3] for row in quality.kept(changes, rules).collect()] == [('1', 'UPDATE', 30)]
reasons = {row.id: row.failed_rules for row in quality.quarantine(changes, rules).collect()}
assert reasons == {'2': ['age_ok'], None: ['id_known', 'age_ok', 'not_corrupt']}, reasons
counts = [tuple(row) for row in quality.rule_counts(changes, rules).collect()]
assert counts == [('id_known', 2, 1), ('age_ok', 1, 2), ('not_corrupt', 2, 1)], counts
assert quality.quarantine(silver_rows(spark.readStream), rules).isStreaming

history = spark.createDataFrame([('a', 'x', 1, 5), ('a', None, 5, None), ('b', 'y', None, 3)],
    'id string, email string, __START_AT int, __END_AT int')
assert [tuple(row) for row in gold.changes_per_key(history, 'id', ['email']).collect()] == [('a', 1, 2)]
assert [tuple(row) for row in gold.as_of(history, 5).collect()] == [('a', None)]
assert [tuple(row) for row in gold.as_of(history, F.lit(4)).collect()] == [('a', 'x')]
spark.stop()
print('same answers')
'''


def test_pure_chapters_on_connect(tmp_path):
    landing = tmp_path/'landing'
    landing.mkdir()
    (landing/'changes.json').write_text('{"id": " 1", "operation": "update", "age": "30"}\n{"id": "2", "age": "old"}\nbroken\n')
    environ = {name: value for name, value in os.environ.items() if not name.startswith(('SPARK_', 'PYSPARK_'))}
    done = subprocess.run([sys.executable, '-c', SCRIPT, str(landing)], capture_output=True, text=True, timeout=600,
                          env=environ | {'SPARK_LOCAL_IP': '127.0.0.1'}, cwd=tmp_path)
    assert 'same answers' in done.stdout, done.stderr[-3000:]
