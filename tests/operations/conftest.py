"What a pipeline declares, surveyed once for all tests of `cdc prove`."

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from prove_trials import table

from cdc_local.operations.prove_survey import survey_pipeline
from cdc_local.storage import Storage
from cdc_local.update.request import UpdateRequest

SURVEYED = """
from pyspark import pipelines as dp
@dp.table
@dp.expect_or_drop('known', "city IN ('Oslo', 'Bern')")
@dp.expect('either', "city <> 'Oslo' OR op <> 'X'")
def landed():
    files = spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json')
    files = files.schema('id int, city string, op string, at timestamp')
    return files.load('/Volumes/main/default/raw/moves')
@dp.temporary_view
def named(): return spark.readStream.table('landed').join(spark.read.table('names'), 'id', 'left')
for target, source, rule in (('now', 'named', "op = 'D'"), ('later', 'arrivals', None)):
    dp.create_streaming_table(target)
    dp.create_auto_cdc_flow(target, source, ['id'], 'at', apply_as_deletes=rule)
"""


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    stored = Storage(folder / "stored").create()
    for name in ("names", "arrivals"):
        write_deltalake(
            str(stored.table_path(table(name))),
            pa.table({"id": pa.array([1], pa.int32()), "name": ["Ann"], "at": [1]}).select(
                ["id", "name"] if name == "names" else ["id", "at"]
            ),
        )
    (folder / "flows.py").write_text(SURVEYED.lstrip())
    return survey_pipeline(UpdateRequest((str(folder / "flows.py"),), stored.root), folder / "survey"), stored
