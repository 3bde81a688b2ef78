"""What is being evaluated: set while the user's code runs, and read by whatever stands in for Spark."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from pyspark.sql import Observation

from cdc_local.dataflow.graph import Flow
from cdc_local.storage import TableName


@dataclass
class Evaluation:
    "One evaluation of a flow's or a view's query."

    flow: Flow | None  # The flow, None while source files declare
    reads: set[TableName] = field(default_factory=set)  # Tables and views it reads
    views: list[TableName] = field(default_factory=list)  # Views being evaluated inside it, outermost first
    # Where the rules of each dataset are counted: an Observation of a batch, a name in a stream's progress
    observed: dict[TableName, Observation | str] = field(default_factory=dict)


# Set while the user's code runs; None while our own code does
current_evaluation: ContextVar[Evaluation | None] = ContextVar("evaluation", default=None)


@contextmanager
def evaluating(
    evaluation: Evaluation | None,  # What runs; None for our own code inside it
) -> Iterator[Evaluation | None]:
    "Mark the user's code, or a stretch of ours within it."
    token = current_evaluation.set(evaluation)
    try:
        yield evaluation
    finally:
        current_evaluation.reset(token)


@contextmanager
def declaring() -> Iterator[None]:
    "Mark the running of source files, outside any dataset function."
    with evaluating(Evaluation(None)):
        yield


def evaluated_flow() -> Flow | None:  # None while source files declare, and while our own code runs
    "Tell which flow's query is being evaluated."
    evaluation = current_evaluation.get()
    return evaluation.flow if evaluation is not None else None
