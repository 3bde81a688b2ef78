"""Which rows a flow replaces, resolved against the columns of its query."""

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from cdc_local.dataflow.graph import Flow
from cdc_local.delta.replacement import find_highest_sequences
from cdc_local.engines.engine import engine_of
from cdc_local.errors import PipelineError
from cdc_local.source.user_errors import describe_exception
from cdc_local.sql.lexer import tokenize
from cdc_utils.events import is_orderable, resolve_columns


def restrict_to_range(
    flow: Flow,  # A flow that computes a range of its target anew
    rows: DataFrame,  # Rows of its query
) -> DataFrame:  # Those in the range
    "Keep the rows of a query that the flow's predicate asks for; `PipelineError` for a mistake in it."
    try:
        restricted = rows.where(range_predicate(flow, rows.columns))
        engine_of(rows.sparkSession).analyse(restricted)
    except PySparkException as wrong:
        raise PipelineError(
            f"flow {flow.name}: REPLACE WHERE {flow.replacement.predicate}: {describe_exception(wrong)}",
            flow.location,
            "its predicate is over the columns of the target",
        ) from None
    return restricted


def range_predicate(
    flow: Flow,  # A flow that computes a range of its target anew
    columns: list[str],  # Columns of its target
) -> Column:
    "The condition that a flow's rows satisfy; a column may carry an alias of the query, as in `f.date`."
    predicate = flow.replacement.predicate
    if not isinstance(predicate, str):
        return predicate  # type: ignore[no-any-return]
    known, words = {name.lower() for name in columns}, tokenize(predicate)
    for alias, dot, name in reversed(list(zip(words, words[1:], words[2:], strict=False))):
        if dot.says(".") and _is_in(name.text, known) and not _is_in(alias.text, known):
            predicate = predicate[: alias.start] + predicate[name.start :]
    return F.expr(predicate)


def _is_in(
    word: str,  # A name, perhaps in backticks
    known: set[str],  # Names in lower case
) -> bool:
    return word.strip("`").lower() in known


def resolve_keys(
    flow: Flow,  # A flow that replaces rows by their keys
    rows: DataFrame,  # Rows of its query
) -> list[str]:  # Its keys as the query spells them
    "Find the columns that say which rows belong together; `PipelineError` for one that is not there."
    try:
        keys = resolve_columns(rows, flow.replacement.keys, "replace_using")
    except ValueError as wrong:
        raise PipelineError(f"flow {flow.name}: {wrong}", flow.location) from None
    for key in keys:
        kind = rows.schema[key].dataType
        if not is_orderable(kind):
            raise PipelineError(
                f"flow {flow.name}: the key {key} is {kind.simpleString()}, which has no order",
                flow.location,
                "`replace_using` takes columns that can be sorted",
            )
    return keys


def check_keys_and_sequence(
    flow: Flow,  # A flow that replaces rows by their keys
    rows: DataFrame,  # Rows of its query, perhaps a stream
) -> DataFrame:  # The highest sequence of each key, as each batch computes it
    "Refuse keys and a sequence that the query does not have."
    keys = resolve_keys(flow, rows)
    try:
        highest = find_highest_sequences(rows, keys, flow.replacement.sequence_by)
        engine_of(rows.sparkSession).analyse(highest)
    except PySparkException as wrong:
        raise PipelineError(
            f"flow {flow.name}: `sequence_by` {flow.replacement.sequence_by}: {describe_exception(wrong)}",
            flow.location,
        ) from None
    return highest
