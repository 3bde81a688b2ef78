"""What is being evaluated: set while the user's code runs, and read by whatever stands in for Spark."""

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from cdc_local.dataflow.graph import Flow
from cdc_local.storage import TableName


@dataclass
class Evaluation:
    "One evaluation of a flow's or a view's query."

    flow: Flow | None  # The flow, None while source files declare
    reads: set[TableName] = field(default_factory=set)  # Tables and views it reads
    views: list[TableName] = field(default_factory=list)  # Views being evaluated inside it
    observed: dict[TableName, Any] = field(
        default_factory=dict
    )  # Observation (or its name) per dataset with rules


current_evaluation: ContextVar[Evaluation | None] = ContextVar(
    "evaluation", default=None
)  # Set while the user's code runs


@contextmanager
def evaluating(
    evaluation: Evaluation | None,  # What runs; None for our own code inside it
):
    "Mark the user's code, or a stretch of ours within it."
    token = current_evaluation.set(evaluation)
    try:
        yield evaluation
    finally:
        current_evaluation.reset(token)


@contextmanager
def declaring():
    "Mark the running of source files, outside any dataset function."
    with evaluating(Evaluation(None)):
        yield
