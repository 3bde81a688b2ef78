"""The engines, each in a process of its own, and what they answer; one that does not is started anew."""

import atexit
import json
import re
import select
import shutil
import subprocess
import sys
import tempfile
from datetime import date, datetime
from decimal import Decimal

WRONG_CALL = ("AnalysisException", "ParseException")  # no such call: types, number of arguments
SILENT = "timed out"  # the error of an engine that has not answered
SECONDS_TO_ANSWER, SECONDS_TO_START = 180, 300


def report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def examples_in(
    description: str,  # What DESCRIBE FUNCTION EXTENDED says
) -> list[str]:
    "Read the examples of a function's documentation."
    return [
        found.group(1).strip()
        for found in re.finditer(r"(?ms)^\s*> (SELECT .*?|WITH .*?|VALUES .*?);\s*$", description)
    ]


def plain_type(kind) -> str:
    "Write an Arrow type without what is only its encoding."
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{field.name}: {plain_type(field.type)}' for field in kind)}>"
    if pa.types.is_map(kind):
        return f"map<{plain_type(kind.key_type)}, {plain_type(kind.item_type)}>"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{plain_type(kind.value_type)}>"
    return str(kind).removeprefix("large_").replace("_view", "")


def plain_value(value) -> object:
    "A value as JSON holds it, with nothing lost: 1 and 1.0 differ, and so do 0.0 and -0.0."
    if isinstance(value, dict):
        return {key: plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    return value if value is None or isinstance(value, str | bool | int) else repr(value)


def values_in(column) -> list[object]:
    "The values of a column; of a date or a text that Python has no value for, what Arrow holds."
    try:
        return [plain_value(value) for value in column.to_pylist()]
    except (OverflowError, UnicodeDecodeError, ValueError):
        return [_value_of(cell) for cell in column]


def _value_of(cell) -> object:
    "A value, or what Arrow holds of it."
    import pyarrow as pa

    try:
        return plain_value(cell.as_py())
    except (OverflowError, ValueError):
        is_moment = pa.types.is_temporal(cell.type)
        held = {32: pa.int32(), 64: pa.int64()}[cell.type.bit_width] if is_moment else pa.binary()
        return f"{plain_type(cell.type)} {cell.cast(held).as_py()!r}"


def arrow_of(frame):
    "The rows of a query; where parts of a struct that is NULL can't be NULL, Arrow has none of Spark's."
    import pyarrow as pa

    try:
        return frame.toArrow()
    except pa.ArrowInvalid:
        return frame.to(nullable(frame.schema)).toArrow()


def nullable(kind):
    "A type all parts of which may be NULL."
    from pyspark.sql.types import ArrayType, MapType, StructField, StructType

    if isinstance(kind, StructType):
        return StructType([StructField(part.name, nullable(part.dataType)) for part in kind])
    if isinstance(kind, ArrayType):
        return ArrayType(nullable(kind.elementType))
    return MapType(kind.keyType, nullable(kind.valueType)) if isinstance(kind, MapType) else kind


def ask(spark, sql: str) -> dict[str, object]:
    "Run a query: columns, types and rows, or the kind of error."
    try:
        table = arrow_of(spark.sql(sql))
        types = [plain_type(field.type) for field in table.schema]
        columns = [values_in(column) for column in table.columns]
        return {"types": types, "rows": [list(row) for row in zip(*columns, strict=True)]}
    except Exception as error:
        from pyspark.errors import PySparkException

        unread = not isinstance(error, PySparkException)  # an answer that Python has no value for
        return {"error": type(error).__name__, "says": str(error)[:200], "unread": unread}


def ask_many(spark, engine: str, groups: list[list[str]]) -> list[list[dict]]:
    """Run expressions, one column each: its type and value, or the kind of error.

    Where a query fails, its halves are asked. A group is of one call: where Spark says that its types are
    wrong, they are for the whole group; Sail says so of values, too."""
    flat = [expression for group in groups for expression in group]
    answer = ask(spark, "SELECT " + ", ".join(f"{one} AS c{at}" for at, one in enumerate(flat)))
    if "error" not in answer:
        row = answer["rows"][0]
        cells = iter({"type": kind, "value": value} for kind, value in zip(answer["types"], row, strict=True))
        return [[next(cells) for _ in group] for group in groups]
    if len(groups) > 1:
        half = len(groups) // 2
        return ask_many(spark, engine, groups[:half]) + ask_many(spark, engine, groups[half:])
    if len(flat) == 1 or engine == "spark" and answer["error"] in WRONG_CALL:
        return [[answer for _ in flat]]
    half = len(flat) // 2
    return [ask_many(spark, engine, [flat[:half]])[0] + ask_many(spark, engine, [flat[half:]])[0]]


def ask_program(spark, engine: str, text: str) -> dict[str, object]:
    "Run a query in PySpark: types, rows in order of their text, and on Sail the plan's nodes."
    from pyspark.sql import Window, functions

    from cdc_local.engines.known.plan import find_nodes

    rows = [("a", 1), ("a", 1), ("b", None), (None, 2), ("b", 5), ("", -3), ("c", 7)]
    left = spark.createDataFrame(rows, "k string, v int")
    right = spark.createDataFrame([*rows[:4], ("b", 9), (None, None)], "k string, v int")
    numbers = [(0, 1.5, Decimal("2.50"), "x"), (None, float("nan"), None, None), (7, -0.0, Decimal(7), "y")]
    typed = spark.createDataFrame(
        [*numbers, (8, 0.0, None, "x")], "b bigint, d double, e decimal(10,2), s string"
    )
    left.createOrReplaceTempView("l")
    right.createOrReplaceTempView("r")

    def stored(frame, kind):
        folder = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, folder)
        frame.write.format(kind).mode("overwrite").save(folder)
        return spark.read.format(kind).load(folder)

    names = {"spark": spark, "F": functions, "Window": Window, "left": left, "right": right, "typed": typed}
    names |= {"stored": stored, "date": date, "datetime": datetime, "Decimal": Decimal}
    try:
        frame = eval(text, names)
        table = frame.toArrow()
        found = [json.dumps(plain_value(list(row.values()))) for row in table.to_pylist()]
        types = [f"{field.name} {plain_type(field.type)}" for field in table.schema]
        nodes = find_nodes(frame) if engine == "sail" else []
        return {"types": types, "rows": found if ".sort(" in text else sorted(found), "nodes": nodes}
    except Exception as error:
        return {"error": type(error).__name__, "says": str(error)[:200]}


def functions_of(spark) -> dict[str, tuple[str, list[str]]]:
    "Spark's functions, with the group and the examples of each."
    listed = spark._jvm.org.apache.spark.sql.api.python.PythonSQLUtils.listBuiltinFunctionInfos()
    return {info.getName(): (info.getGroup(), examples_in(info.getExamples())) for info in listed}


def start(engine: str):
    "A session that answers small queries soon."
    from cdc_local.engines.session import local_spark

    quick = {
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.shuffle.partitions": "1",
        "spark.default.parallelism": "1",
    }
    return local_spark(options=quick if engine == "spark" else None, engine=engine)


def serve(engine: str) -> None:
    "Answer a question a line on standard input, an answer a line on standard output."
    spark = start(engine)
    for line in sys.stdin:
        question = json.loads(line)
        if question is None:
            answer = functions_of(spark)
        elif isinstance(question, dict):
            answer = ask_program(spark, engine, question["program"])
        else:
            answer = ask(spark, question) if isinstance(question, str) else ask_many(spark, engine, question)
        print(json.dumps(answer), flush=True)


class Engine:
    "An engine in a process; where a query ends the process or takes too long, that is its answer."

    def __init__(self, name: str, command: list[str] | None = None) -> None:
        self.name, self.process = name, None
        self.command = command or [sys.executable, __file__, name]

    def ask(self, question):
        "Ask a query (text), groups of expressions (lists) or for the functions (None)."
        if self.process is None:
            self._start()
        answer = self._answer(question, SECONDS_TO_ANSWER)
        if "error" not in answer:
            return answer["answer"]
        if not isinstance(question, list):
            return answer
        return [self.ask([group])[0] if len(question) > 1 else [answer for _ in group] for group in question]

    def _start(self) -> None:
        "Start the process, and wait until it answers."
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if "error" in self._answer("SELECT 1", SECONDS_TO_START):
            raise SystemExit(f"the engine {self.name} does not start")

    def _answer(self, question, seconds: int) -> dict:
        "The answer, or why there is none; the process is gone then."
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)  # a line is read whole each time
        line = self.process.stdout.readline() if ready else ""
        if line:
            return {"answer": json.loads(line)}
        self.process.kill()
        self.process.communicate()
        self.process = None
        if ready:
            return {"error": "died", "says": "the engine ended"}
        return {"error": SILENT, "says": f"no answer in {seconds} s"}

    def close(self) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


if __name__ == "__main__":
    serve(sys.argv[1])
