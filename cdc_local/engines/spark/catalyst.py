"""What Spark's own parser and optimizer say about a query."""

import re
from contextlib import contextmanager
from typing import Any

from py4j.java_gateway import is_instance_of
from pyspark.errors import ParseException
from pyspark.logger import PySparkLogger
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import DataType

from cdc_local.errors import Location, PipelineError, locate

BARE_OPTION = re.compile(r"WITH\s*\(\s*SKIPCHANGECOMMITS\s*\)", re.I)


@contextmanager
def quiet_parser():
    "Keep pyspark from logging a parse error's JVM stack: the error itself says it."
    logger = PySparkLogger.getLogger(
        "SQLQueryContextLogger"
    )  # made by pyspark: a plain logger of that name breaks it
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def parse_plan(
    spark,  # Classic `SparkSession`
    sql: str,  # One statement
    location: Location = None,  # Where its first line stands
):  # Spark's unresolved plan, a JVM object
    "Parse one statement; `PipelineError` with Spark's sentence and the line, without a JVM stack."
    text = BARE_OPTION.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), sql)
    with quiet_parser():
        try:
            return spark._jsparkSession.sessionState().sqlParser().parsePlan(text)
        except ParseException as error:
            message = str(error).strip()
    line = re.search(r"line (\d+), pos", message)
    start = sum(len(each) + 1 for each in sql.split("\n")[: int(line[1]) - 1]) if line else 0
    first = re.split(r"\n+== SQL", message)[0].strip()
    raise PipelineError(
        re.sub(r"^\[\w[\w.]*\] | SQLSTATE: \w+| \(line \d+, pos \d+\)", "", first),
        locate(sql, start, location),
    ) from None


def scala_list(sequence):
    "A Scala sequence as a list."
    return [sequence.apply(n) for n in range(sequence.size())]


def node_kind(node):
    "A plan node's class."
    return node.getClass().getSimpleName().rstrip("$")


def is_node_of(spark, node, name):
    "Whether a node is of a class of Catalyst."
    return is_instance_of(spark.sparkContext._gateway, node, "org.apache.spark.sql.catalyst." + name)


class RelationWalk:
    "Collects the relations of a plan, knowing which names are common table expressions."

    def __init__(self, spark):
        self.spark, self.found = spark, []  # found: (node, streaming, alias)
        self.subquery = spark._jvm.org.apache.spark.sql.catalyst.trees.TreePattern.PLAN_EXPRESSION()

    def expressions(self, expression, scope):
        if not expression.containsPattern(self.subquery):
            return
        if is_node_of(self.spark, expression, "expressions.PlanExpression"):
            self.plan(expression.plan(), scope)
        for child in scala_list(expression.children()):
            self.expressions(child, scope)

    def plan(self, node, scope, streaming=False, alias=None):
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

    def common_tables(self, node, scope):
        "Walk a WITH: each definition in the scope of those before it."
        for definition in scala_list(node.cteRelations()):
            name = definition._1().lower()
            recursive = {name} if node.allowRecursion() else set()
            self.plan(definition._2(), scope | recursive)
            scope = scope | {name}
        self.plan(node.child(), scope)

    def relation(self, node, scope, streaming, alias):
        "Note a relation, unless its name is a common table expression's."
        if node.multipartIdentifier().size() == 1 and node.multipartIdentifier().apply(0).lower() in scope:
            return
        self.found.append((node, streaming or node.isStreaming(), alias))


def is_spark_table_function(
    spark,  # Classic `SparkSession`
    function: str,  # Name in lower case
) -> bool:  # True for a table function of Spark or one registered with it
    "Whether Spark itself has this table function."
    return (
        spark._jsparkSession.sessionState().catalog().lookupBuiltinOrTempTableFunction(function).isDefined()
    )


CHANGING_NODES = ("Command", "ParsedStatement", "CompoundPlanStatement")


def is_query(
    spark,  # Classic `SparkSession`
    sql: str,  # One statement
    location: Location = None,  # Where its first line stands
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
    return [found.apply(place) for place in range(found.size())]


def query_text(
    frame: DataFrame,  # A batch
) -> str:  # The same for the same query in every process
    "The analysed plan, without numbers that change from run to run."
    text = frame._jdf.queryExecution().analyzed().treeString(True, False, 2**31 - 1, False, False)
    numbers: dict[str, int] = {}
    text = re.sub(r"#(\d+)L?", lambda found: f"#{numbers.setdefault(found[1], len(numbers))}", text)
    return re.sub(r"(?m)(CollectMetrics .*), \d+$", r"\1", text)


OPEN_PATTERNS = (
    "CURRENT_LIKE",
    "PYTHON_UDF",
    "EVAL_PYTHON_UDTF",
    "PYTHON_DATA_SOURCE",
    "SCALA_UDF",
    "VARIABLE_REFERENCE",
    "PLAN_EXPRESSION",
)  # what Spark calls a clock or user, functions of users, session variables, subqueries


def can_upcast(
    spark: SparkSession,  # Knows Spark's rule
    stored: DataType,  # Type of a stored column
    now: DataType,  # Type of its new values
) -> bool:
    "Tell that a stored column can hold new values unchanged."

    def known(kind):
        return spark.sparkContext._jvm.org.apache.spark.sql.types.DataType.fromJson(kind.json())

    return stored == now or spark.sparkContext._jvm.org.apache.spark.sql.catalyst.expressions.Cast.canUpCast(
        known(now), known(stored)
    )


def exception_messages(
    error: BaseException,  # Raised by Spark or by Python
) -> list[str]:  # Its message and those of its causes, the JVM's too, outermost first
    "Unwrap an exception."
    found, java = [str(error)], getattr(error, "_origin", None) or getattr(error, "java_exception", None)
    while java is not None and len(found) < 20:
        found.append(str(java.getMessage()))
        java = java.getCause()
    return found + (exception_messages(error.__cause__) if error.__cause__ not in (None, error) else [])
