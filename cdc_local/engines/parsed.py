"""What a parser finds in a SQL text, in words that belong to no engine."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ParsedRelation:
    "A table, view or table function in a text, as a parser sees it."

    start: int  # Where its first word stands in the text: STREAM, if it is written so
    parts: tuple[str, ...]  # Of its name, without backticks
    is_function: bool = False  # Whether it is called, as `read_files(…)`
    streaming: bool = False  # Whether it is written with STREAM
    alias: str | None = None
    options: dict[str, str] = field(default_factory=dict, hash=False)  # Of `WITH (…)`, keys in lower case
