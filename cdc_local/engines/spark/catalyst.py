"""What Spark's own parser and optimizer say about a query."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from py4j.java_gateway import is_instance_of
from pyspark.errors import AnalysisException, ParseException
from pyspark.logger import PySparkLogger
from pyspark.sql import Column, DataFrame, SparkSession

from cdc_local.engines.parsed import ParsedRelation
from cdc_local.errors import Location, PipelineError, locate

_PROJECT = "plans.logical.Project"
_FILTER = "plans.logical.Filter"
_BARE_OPTION = re.compile(r"WITH\s*\(\s*SKIPCHANGECOMMITS\s*\)", re.I)


@contextmanager
def quiet_parser() -> Iterator[None]:
    "Keep pyspark from logging a parse error's JVM stack: the error itself says it."
    # made by pyspark: a plain logger of that name breaks it
    logger = PySparkLogger.getLogger("SQLQueryContextLogger")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def parse_plan(
    spark: SparkSession,  # A classic one
    sql: str,  # One statement
    location: Location | None = None,  # Where its first line stands
) -> Any:  # Spark's unresolved plan, a JVM object
    "Parse one statement; `PipelineError` with Spark's sentence and the line, without a JVM stack."
    text = _BARE_OPTION.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), sql)
    with quiet_parser():
        try:
            return spark._jsparkSession.sessionState().sqlParser().parsePlan(text)
        except ParseException as error:
            message = str(error).strip()
    line = re.search(r"line (\d+), pos", message)
    lines_before = sql.split("\n")[: int(line[1]) - 1] if line else []
    start = sum(len(text) + 1 for text in lines_before)
    first = re.split(r"\n+== SQL", message)[0].strip()
    raise PipelineError(
        re.sub(r"^\[\w[\w.]*\] | SQLSTATE: \w+| \(line \d+, pos \d+\)", "", first),
        locate(sql, start, location),
    ) from None


def scala_list(
    sequence: Any,  # A Scala sequence
) -> list[Any]:
    "Read a Scala sequence into a list."
    return [sequence.apply(n) for n in range(sequence.size())]


def node_kind(
    node: Any,  # A node of a plan
) -> str:  # Its class, as `UnresolvedRelation`
    "Name the class of a plan's node."
    return str(node.getClass().getSimpleName()).rstrip("$")


def is_node_of(
    spark: SparkSession,  # A classic one
    node: Any,  # A node of a plan
    name: str,  # A class below `org.apache.spark.sql.catalyst`
) -> bool:
    "Whether a node is of a class of Catalyst."
    gateway = spark.sparkContext._gateway
    return bool(is_instance_of(gateway, node, f"org.apache.spark.sql.catalyst.{name}"))


class RelationWalk:
    "Collects the relations of a plan, knowing which names are common table expressions."

    def __init__(self, spark: SparkSession) -> None:
        self.spark = spark
        self.found: list[tuple[Any, bool, str | None]] = []  # (node, streaming, alias)
        jvm: Any = spark._jvm
        self.subquery = jvm.org.apache.spark.sql.catalyst.trees.TreePattern.PLAN_EXPRESSION()

    def expressions(self, expression: Any, scope: frozenset[str]) -> None:
        "Walk the subqueries of an expression."
        if not expression.containsPattern(self.subquery):
            return
        if is_node_of(self.spark, expression, "expressions.PlanExpression"):
            self.plan(expression.plan(), scope)
        for child in scala_list(expression.children()):
            self.expressions(child, scope)

    def plan(
        self, node: Any, scope: frozenset[str], streaming: bool = False, alias: str | None = None
    ) -> None:
        "Walk a plan; `scope` has the names of the common table expressions around it."
        kind = node_kind(node)
        if kind == "UnresolvedWith":
            return self.common_tables(node, scope)
        if kind == "UnresolvedRelation":
            return self.relation(node, scope, streaming, alias)
        if kind == "UnresolvedTableValuedFunction":
            self.found.append((node, streaming, alias))
        if node.containsPattern(self.subquery):
            for expression in scala_list(node.expressions()):
                self.expressions(expression, scope)
        inside = kind in (
            "NamedStreamingRelation",
            "Sample",
            "UnresolvedEventTimeWatermark",
            "UnresolvedSubqueryColumnAliases",
            "UnresolvedTVFAliases",
        )
        if kind == "SubqueryAlias":
            inside, alias = True, node.alias()
        for child in scala_list(node.children()):
            self.plan(
                child,
                scope,
                kind == "NamedStreamingRelation" or inside and streaming,
                alias if inside else None,
            )

    def common_tables(self, node: Any, scope: frozenset[str]) -> None:
        "Walk a WITH: each definition in the scope of those before it."
        for definition in scala_list(node.cteRelations()):
            name = definition._1().lower()
            self.plan(definition._2(), scope | {name} if node.allowRecursion() else scope)
            scope = scope | {name}
        self.plan(node.child(), scope)

    def relation(self, node: Any, scope: frozenset[str], streaming: bool, alias: str | None) -> None:
        "Note a relation, unless its name is a common table expression's."
        if node.multipartIdentifier().size() == 1 and node.multipartIdentifier().apply(0).lower() in scope:
            return
        self.found.append((node, streaming or node.isStreaming(), alias))


def parse_relations(
    spark: SparkSession,  # A classic one
    sql: str,  # One statement
    location: Location | None = None,  # Where its first line stands
) -> list[ParsedRelation]:  # What it reads
    "Find what a statement reads; `PipelineError` if Spark cannot parse it."
    walk = RelationWalk(spark)
    walk.plan(parse_plan(spark, sql, location), frozenset())
    starts = [node.origin().startIndex().get() for node, *_ in walk.found]
    skipping = {  # each option belongs to the relation that stands before it
        max((start for start in starts if start < option.start()), default=None)
        for option in _BARE_OPTION.finditer(sql)
    }
    return [
        _as_relation(start, start in skipping, *found)
        for start, found in zip(starts, walk.found, strict=True)
    ]


def _as_relation(
    start: int,  # Where it stands in the text
    skips: bool,  # Whether it is written with SKIPCHANGECOMMITS
    node: Any,  # Of the plan
    streaming: bool,  # Whether it is written with STREAM
    alias: str | None,
) -> ParsedRelation:
    "Read a node of the plan."
    if node_kind(node) != "UnresolvedRelation":
        return ParsedRelation(start, tuple(scala_list(node.name())), True, streaming, alias)
    options = {key: node.options().get(key) for key in list(node.options().keySet())}
    if skips:
        options["skipchangecommits"] = "true"
    parts = tuple(scala_list(node.multipartIdentifier()))
    return ParsedRelation(start, parts, False, streaming, alias, options)


def is_table_function(
    spark: SparkSession,  # A classic one
    function: str,  # Name in lower case
) -> bool:  # True for a table function of Spark or one registered with it
    "Whether Spark itself has this table function."
    catalog = spark._jsparkSession.sessionState().catalog()
    return bool(catalog.lookupBuiltinOrTempTableFunction(function).isDefined())


def compute_text(
    spark: SparkSession,  # The session
    expression: str,  # SQL that reads no table, of type STRING
) -> str | None:  # Its value
    "Compute a constant; raises what Spark raises."
    with quiet_parser():
        value: str | None = spark._jsparkSession.sql(f"SELECT {expression}").head().get(0)
    return value


def build_frame(
    spark: SparkSession,  # A classic one
    sql: str,  # A query
    frames: Mapping[int, DataFrame],  # What it reads, by where it stands
) -> None:
    "Leave a query a text: Spark sees through it."


def query_views(
    spark: SparkSession,  # A classic one
    run_sql: Callable[..., DataFrame],  # Its own `sql`
    sql: str,  # A query
    views: Mapping[str, DataFrame],  # What its names mean
) -> DataFrame:  # Its rows
    "Run a text over temporary views, which go once Spark has looked at it."
    for name, frame in views.items():
        frame.createOrReplaceTempView(name)
    try:
        return run_sql(sql)
    finally:
        for name in views:
            spark.catalog.dropTempView(name)


CHANGING_NODES = ("Command", "ParsedStatement", "CompoundPlanStatement")


def is_query(
    spark: SparkSession,  # A classic one
    sql: str,  # One statement
    location: Location | None = None,  # Where its first line stands
) -> bool:  # False for a command, DDL, DML or a script
    "Whether a statement only reads; `PipelineError` if Spark cannot parse it."
    plan = parse_plan(spark, sql, location)
    while node_kind(plan) in ("UnresolvedWith", "Union"):
        plan = scala_list(plan.children())[-1]
    return not any(is_node_of(spark, plan, "plans.logical." + name) for name in CHANGING_NODES)


def leaf_nodes(
    frame: DataFrame,  # Classic, batch or streaming
) -> list[Any]:  # Spark's own plans of what it reads
    "What a query reads, in the order of the plan."
    found = frame._jdf.queryExecution().analyzed().collectLeaves()
    return scala_list(found)


def query_text(
    frame: DataFrame,  # A batch
) -> str:  # The same for the same query in every process
    "The analysed plan, without numbers that change from run to run."
    text = frame._jdf.queryExecution().analyzed().treeString(True, False, 2**31 - 1, False, False)
    numbers: dict[str, int] = {}
    text = re.sub(r"#(\d+)L?", lambda found: f"#{numbers.setdefault(found[1], len(numbers))}", text)
    return re.sub(r"(?m)(CollectMetrics .*), \d+$", r"\1", text)


# What Spark calls a clock or user, functions of users, session variables, subqueries
_OPEN_PATTERNS = (
    "CURRENT_LIKE",
    "PYTHON_UDF",
    "EVAL_PYTHON_UDTF",
    "PYTHON_DATA_SOURCE",
    "SCALA_UDF",
    "VARIABLE_REFERENCE",
    "PLAN_EXPRESSION",
)


_FILES_RELATION = "org.apache.spark.sql.execution.datasources.HadoopFsRelation"


def table_snapshots(
    frame: DataFrame,  # A batch
) -> list[tuple[str, str]] | None:  # Path of each Delta table, and words that name its version
    "The tables that a query reads; None where its result depends on more than their rows and its text."
    plan, jvm = frame._jdf.queryExecution().analyzed(), frame.sparkSession._jvm
    patterns: Any = jvm.org.apache.spark.sql.catalyst.trees.TreePattern  # type: ignore[union-attr]
    if not plan.deterministic():
        return None
    if any(plan.containsPattern(getattr(patterns, name)()) for name in _OPEN_PATTERNS):
        return None
    found = []
    for leaf in leaf_nodes(frame):
        if leaf.nodeName() != "LogicalRelation":
            return None
        if not is_instance_of(frame.sparkSession.sparkContext._gateway, leaf.relation(), _FILES_RELATION):
            return None
        files = leaf.relation().location()
        if files.getClass().getSimpleName() != "TahoeLogFileIndex":
            return None
        found.append((str(files.path().toString()), str(files.toString())))
    return found


def reveal_columns(
    frame: DataFrame,  # A batch or a stream, of a classic session
    conditions: Sequence[Column],  # On its rows
) -> DataFrame:  # The same rows, with columns that conditions name and the query has dropped or renamed
    "Add what a filter of Spark would find below the query's last step; raises what the filter raises."
    spark: SparkSession = frame.sparkSession
    jvm: Any = spark._jvm
    for condition in conditions:
        try:
            frame.select(condition)
        except AnalysisException:
            projected = frame.where(condition)._jdf.queryExecution().analyzed()
            if not (is_node_of(spark, projected, _PROJECT) and is_node_of(spark, projected.child(), _FILTER)):
                raise
            inner = projected.child().child()
            dataset = jvm.org.apache.spark.sql.classic.Dataset.ofRows(spark._jsparkSession, inner)
            frame = DataFrame(dataset, spark)
    return frame


def describe_java_exception(
    java: Any,  # An exception of the JVM
) -> tuple[str, str]:  # Its class without the package, and its message
    """Describe the innermost cause that has an error condition of Spark, as `[CAST_INVALID_INPUT] …`, or the
    exception itself: a task that failed is wrapped in sentences that name no reason."""
    text, cause = str(java.toString()), java.getCause()
    for _ in range(20):
        if cause is None:
            break
        if str(cause.getMessage()).startswith("["):
            text = str(cause.toString())
        cause = cause.getCause()
    name, _, message = text.partition(": ")
    return name.rpartition(".")[2], message


def exception_messages(
    error: BaseException,  # Raised by Spark or by Python
) -> list[str]:  # Its message and those of its causes, the JVM's too, outermost first
    "List the messages of an exception and of its causes."
    found, java = [str(error)], getattr(error, "_origin", None) or getattr(error, "java_exception", None)
    while java is not None and len(found) < 20:
        found.append(str(java.getMessage()))
        java = java.getCause()
    cause = error.__cause__
    return found + (exception_messages(cause) if cause is not None and cause is not error else [])
