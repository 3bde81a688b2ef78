"On Sail, Auto Loader's files are read in Python: the frame is as Spark's."

import json
import subprocess
import sys

import pytest
from landed_files import put

READS = """
import json, sys
from cdc_local.autoloader.files import FileSelection
from cdc_local.autoloader.read import read_batch, read_stream
from cdc_local.engines.engine import engine_of
from cdc_local.engines.session import local_spark
from cdc_local.errors import PipelineError
spark = local_spark(engine='sail')
folder, said = sys.argv[1], []
found = {}
options = {'cloudFiles.format': 'json', 'rescuedDataColumn': '_rescued_data'}
batch = read_batch(spark, folder, options, 'id string, n int', said.append)
found['columns'] = batch.columns
found['rows'] = batch.select('*', '_metadata.file_name').orderBy('id').toPandas().astype(str).values.tolist()
found['inferred'] = read_batch(spark, folder, {}, None, said.append).dtypes
found['parts'] = read_batch(spark, folder, {}, None, said.append).where('day IS NULL').count()
stream = read_stream(spark, folder, options, 'id string', None, said.append)
found['stream'] = [stream.isStreaming, stream.select('*', '_metadata.file_path').columns]
rows = engine_of(spark).new_observation('rows')
def select(options, files):
    found['offered'] = len(files)
    return FileSelection(tuple(files[:1]), rows)
chosen = read_stream(spark, folder, options, 'id string, n int', None, said.append, select)
found['chosen'] = [chosen.isStreaming, [row.id for row in chosen.collect()]]
found['counted'] = engine_of(spark).read_counts(spark, [rows])
nothing = read_stream(spark, folder, options, 'id string', None, said.append,
                      lambda options, files: FileSelection((), engine_of(spark).new_observation('none')))
found['nothing'] = [nothing.columns, nothing.count()]
for name, path, more in (('path', folder + '/none', {}), ('format', folder, {'format': 'orc'})):
    try: read_stream(spark, path, {'format': 'json', **more}, 'id string', None, said.append)
    except PipelineError as error: found[name] = error.message
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("landed")
    put(folder, "a.json", '{"id": "1", "n": 1}', '{"id": "2", "n": "x", "z": 1}')
    put(folder, "day=1/b c.json", '{"id": "3"')
    command = [sys.executable, "-c", READS, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_rows_have_their_columns_and_hide_where_they_come_from(found):
    assert found["columns"] == ["id", "n", "_rescued_data"]
    rows = {row[0]: row for row in found["rows"]}
    assert rows["1"][3] == "a.json" and rows["None"][3] == "b%20c.json"
    assert json.loads(rows["2"][2])["n"] == "x" and json.loads(rows["2"][2])["z"] == 1


def test_columns_are_inferred(found):
    assert found["inferred"] == [
        *(["id", "string"], ["n", "string"], ["z", "bigint"], ["day", "string"], ["_rescued_data", "string"])
    ]
    assert found["parts"] == 2


def test_a_stream_stands_in_until_its_files_are_chosen(found):
    assert found["stream"] == [True, ["id", "_rescued_data", "file_path"]]
    assert (found["offered"], found["chosen"], found["counted"]) == (2, [False, ["1", "2"]], [{"rows": 2}])
    assert found["nothing"] == [["id", "_rescued_data"], 0]


def test_what_cannot_be_read_is_refused(found):
    assert found["path"].startswith("Auto Loader: no such path: ")
    assert found["format"] == "Auto Loader's format orc is read by Spark alone"
