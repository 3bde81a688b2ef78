"A session of Sail: what it answers, that Java has no part in it, and that nothing is left of it."

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from programs import names, write_program

from cdc_local.engines.sail.session import start_sail
from cdc_local.engines.session import choose_engine, local_spark
from cdc_local.errors import UsageError, install_hint

START = """
from cdc_local.engines.session import local_spark
spark = local_spark(engine='sail')
"""

ANSWERS = """
import json, sys
from pyspark.sql.functions import udf
from cdc_local.engines.sail import session
from cdc_local.errors import UsageError
found = {'address': session._running['server'].listening_address[0], 'shown': str(spark.range(1))}
row = spark.sql("select timestamp'2026-01-01 00:00:00' at, current_timezone() zone, map(1, 'a', 1, 'b') last")
found['row'] = str(row.first().asDict())
try: found['cast'] = spark.sql("select cast('no' as int)").collect()
except Exception as error: found['cast'] = type(error).__name__
found['python'] = spark.range(1).select(udf(lambda number: sys.prefix)('id')).first()[0]
for day in range(2): spark.range(day + 1).write.format('delta').mode('overwrite').save(sys.argv[1])
reader = spark.read.format('delta')
found['versions'] = [reader.option('versionAsOf', version).load(sys.argv[1]).count() for version in range(2)]
again = local_spark({'spark.sql.repl.eagerEval.truncate': '7'}, 'sail')
found['again'] = [again is spark, spark.conf.get('spark.sql.repl.eagerEval.truncate')]
try: local_spark(engine='spark')
except UsageError as error: found['other'] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sail")


@pytest.fixture(scope="module")
def found(folder):
    "What a process without Java finds on Sail; it prints nothing else, and ends with its session open"
    java = write_program(folder / "jdk/bin/java", f"touch {folder}/called; exit 1\n")
    environ = {"PATH": str(java.parent), "JAVA_HOME": str(java.parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", START + ANSWERS, str(folder / "table")],
        env={**environ, "TMPDIR": str(folder), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_no_java_is_called_and_no_file_is_left(found, folder):
    assert names(folder) == ["jdk", "table"]


def test_sail_answers_as_our_spark_does(found):
    assert found["row"] == "{'at': datetime.datetime(2026, 1, 1, 0, 0), 'zone': 'UTC', 'last': {1: 'b'}}"
    assert found["cast"] == "NumberFormatException"
    assert found["shown"].splitlines() == ["+---+", "| id|", "+---+", "|  0|", "+---+"]


def test_python_functions_run_in_the_python_of_the_session_and_delta_is_written(found):
    assert (found["python"], found["versions"]) == (sys.prefix, [1, 2])


def test_it_listens_on_loopback_alone(found):
    assert found["address"] == "127.0.0.1"


def test_a_second_call_finds_the_session_and_sets_options(found):
    assert found["again"] == [True, "7"]


def test_a_process_speaks_to_one_engine(found):
    assert found["other"].startswith("this process has a session of Spark Connect already")
    assert "restart the kernel" in found["other"]


WAITS = """
print('ready', flush=True)
long = 'select sum(a.id * b.id) from range(3000000) a join range(3000000) b on a.id + b.id > 3'
try: spark.sql(long).collect()
except KeyboardInterrupt: print('interrupted', flush=True)
print(spark.range(3).count(), flush=True)
import time; time.sleep(60)
"""


def test_ctrl_c_ends_the_query_and_not_the_engine_and_kill_ends_the_process():
    process = subprocess.Popen(
        [sys.executable, "-c", START + WAITS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(2)  # until it waits for the answer
    process.send_signal(signal.SIGINT)
    assert [process.stdout.readline() for _ in range(2)] == ["interrupted\n", "3\n"]
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == -signal.SIGTERM


def test_sail_does_not_start_beside_spark(spark):
    with pytest.raises(UsageError, match="has a session of Spark already.*restart the kernel"):
        start_sail()


def test_what_a_notebook_on_sail_starts_may_use_spark(monkeypatch, spark):
    "PySpark tells by a variable, which is inherited, that a process speaks Connect"
    monkeypatch.setenv("SPARK_CONNECT_MODE_ENABLED", "1")
    assert local_spark(engine="spark").sparkContext.applicationId == spark.sparkContext.applicationId
    assert "SPARK_CONNECT_MODE_ENABLED" not in os.environ


@pytest.mark.parametrize("absent", ["pysail", "grpc"])
def test_what_is_not_installed_is_named(absent):
    code = f"""
import sys; sys.modules[{absent!r}] = None
from cdc_local.engines.session import local_spark
from cdc_local.errors import UsageError
try: local_spark(engine='sail')
except UsageError as error: print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert absent in done.stdout and install_hint() in done.stdout


def test_who_asks_chooses_the_engine():
    assert choose_engine(None, {}) == choose_engine("", {"CDC_ENGINE": ""}) == "auto"
    assert choose_engine(None, {}, default="spark") == "spark"
    assert (
        choose_engine(None, {"CDC_ENGINE": "sail"})
        == choose_engine("sail", {"CDC_ENGINE": "spark"})
        == "sail"
    )


@pytest.mark.parametrize("engine, environ", [("duck", {}), (None, {"CDC_ENGINE": "duck"})])
def test_an_unknown_engine_is_refused_with_those_there_are(engine, environ):
    with pytest.raises(UsageError, match="is 'duck'; name one of: auto, sail, spark"):
        choose_engine(engine, environ)


def test_a_session_that_only_updates_have_used_ends_for_spark():
    code = """
from cdc_local.engines.sail.session import start_sail
from cdc_local.engines.session import has_session
from cdc_local.engines.spark.session import start_spark
from cdc_local.errors import UsageError
start_sail(gives_way=True).range(3).count()
start_sail()  # a notebook asks for it
try: start_spark()
except UsageError as error: print(str(error).partition(",")[0])
from cdc_local.engines.sail.session import end_session
end_session()
assert has_session() is None
start_sail(gives_way=True)
print(has_session(), start_spark().range(5).count(), has_session())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [
        "this process has a session of Spark Connect already",
        "sail 5 spark",
    ]
