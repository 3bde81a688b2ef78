"""Names of the pipeline's tables in expressions of Python's: `where`, `selectExpr`, `F.expr`.

To the engine such a text is an expression; a subquery in it reads tables, whose names mean the pipeline's.
They become views of the frames that they mean, as in `spark.sql`.
"""

from itertools import count

from cdc_local.analysis.evaluation import Evaluation, current_evaluation, evaluating
from cdc_local.analysis.queries import relation_frame
from cdc_local.analysis.runtime import Runtime
from cdc_local.engines.engine import is_sail
from cdc_local.errors import NeedsSparkError, PipelineError
from cdc_local.sql.lexer import has_subquery
from cdc_local.sql.relations import Relation, find_relations, substitute_relations

_SELECT = "SELECT "  # Makes a query of an expression

_numbers = count(1)  # Of views outside of dataset functions


def name_tables(
    runtime: Runtime,  # The update
    text: str,  # An expression, or an item of a SELECT
    is_used_now: bool = True,  # By the call that has it; False for a column, which may be used later
) -> str:  # The same, its subqueries reading views of what their tables mean
    """Let the subqueries of an expression read the pipeline's tables.

    `NeedsSparkError` on Sail; `PipelineError` for a column that source files make while they declare: what a
    name means is known when all is declared.
    """
    evaluation = current_evaluation.get()
    if evaluation is None or not has_subquery(text):
        return text
    with runtime.lock, evaluating(None):
        if is_sail(runtime.spark):
            raise NeedsSparkError("a subquery in an expression is computed by Spark alone")
        found = find_relations(runtime.spark, _SELECT + text)
        if found and not is_used_now and evaluation.is_declaring:
            raise PipelineError(
                f"{text.strip()[:60]!r} reads {_describe(found[0])} outside a dataset function",
                hint="make this column inside the function that uses it",
            )
        views = {}
        for relation in found:
            with evaluating(evaluation):
                frame = relation_frame(runtime, relation)
            name = _name_view(evaluation)
            evaluation.expression_views.append(name)
            views[relation] = f"global_temp.{name}"  # a handler's frames are of a session of their own
            frame.createOrReplaceGlobalTempView(name)
        return substitute_relations(_SELECT + text, views).removeprefix(_SELECT)


def _name_view(
    evaluation: Evaluation,  # What the view is for
) -> str:
    """Name a view; for a dataset function it is the same in every update, whose plans are compared.

    Handlers of sinks run beside others, so theirs are names that nothing else has.
    """
    if evaluation.flow is None:
        return f"__lakeflow_code_{next(_numbers)}"
    return f"__lakeflow_expression_{len(evaluation.expression_views) + 1}"


def _describe(
    relation: Relation,  # Something that a subquery reads
) -> str:
    return relation.name or f"{relation.function}(…)"
