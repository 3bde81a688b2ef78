"""Calls in the text of an SQL expression, as `F.expr` and rules have them."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from cdc_local.engines.known.calls import Call, Found, Lambda

# Words that are calls without brackets, where no column has the name
_BARE_CALLS = {"current_date", "current_timestamp", "current_time", "localtimestamp", "current_user", "user"}

# Class of sqlglot -> operator, and the arguments that it has
_OPERATORS = {
    "Add": "+",
    "And": "and",
    "BitwiseAnd": "&",
    "BitwiseNot": "~ bits",
    "BitwiseOr": "|",
    "BitwiseXor": "^",
    "DPipe": "||",
    "Div": "/",
    "EQ": "==",
    "GT": ">",
    "GTE": ">=",
    "ILike": "ilike",
    "IntDiv": "div",
    "LT": "<",
    "LTE": "<=",
    "Like": "like",
    "Mod": "%",
    "Mul": "*",
    "NEQ": "!=",
    "Neg": "negative",
    "Not": "not",
    "NullSafeEQ": "<=>",
    "Or": "or",
    "RegexpLike": "rlike",
    "Sub": "-",
}
# What sqlglot notes of an operator that says nothing of what it computes
_NOTES = {"safe", "typed"}


def read_text(
    sql: str,  # An expression
) -> Found:
    "Find the calls of an SQL expression; what is not understood is not guessed."
    tree = _parse(sql)
    return Found(unknown={f"the SQL text `{sql}` is not read"}) if tree is None else read_tree(tree)


def read_tree(
    tree: Any,  # A parsed expression
) -> Found:
    "Find the calls of a parsed SQL expression."
    reader = _TextReader()
    reader.read(tree)
    return reader.found


@cache
def find_functions(
    sql: str,  # An expression
) -> frozenset[str] | None:  # Names in lower case, `over` for a window; None where the text is not read
    "Find the functions that an SQL expression calls."
    from sqlglot import exp

    tree = _parse(sql)
    if tree is None:
        return None
    names = {str(call.this).lower() for call in tree.find_all(exp.Anonymous)}
    return frozenset(names | {"over" for _ in tree.find_all(exp.Window)})


@cache
def _dialect() -> Any:
    "Databricks' SQL, in which a call of any function is a call by its name."
    from sqlglot.dialects.databricks import Databricks

    spelled = Databricks.Parser
    parser = {
        "FUNCTIONS": {},
        "FUNCTION_PARSERS": {name: spelled.FUNCTION_PARSERS[name] for name in ("CAST", "TRY_CAST")},
        "NO_PAREN_FUNCTIONS": {},
        "NO_PAREN_FUNCTION_PARSERS": {
            name: spelled.NO_PAREN_FUNCTION_PARSERS[name] for name in ("CASE", "IF")
        },
    }
    return type("Texts", (Databricks,), {"Parser": type("Parser", (spelled,), parser)})


def parse_query(
    sql: str,  # One statement
) -> Any:  # Of sqlglot, None where it is none
    "Parse a query."
    from sqlglot import parse
    from sqlglot.errors import SqlglotError

    try:
        trees = parse(f"{sql}\n", dialect=_dialect())
    except SqlglotError:
        return None
    return trees[0] if len(trees) == 1 else None


def _parse(sql: str) -> Any:
    "Parse an expression, None where it is none."
    tree = parse_query(f"SELECT {sql}")
    if tree is None or len(tree.expressions) != 1:
        return None
    others = {name for name, value in tree.args.items() if value and name != "expressions"}
    return None if others else tree.expressions[0]


def write_text(
    node: Any,  # Of sqlglot
) -> str:
    "Write a parsed text again."
    return str(node.sql(dialect=_dialect()))


def _asked(text: str) -> Any:
    "An expression of Spark Connect that is SQL text."
    from pyspark.sql.connect.proto import expressions_pb2

    expression = expressions_pb2.Expression()
    expression.expression_string.expression = text
    return expression


class _TextReader:
    "Walks a parsed expression."

    def __init__(self) -> None:
        self.found = Found()

    def read(
        self,
        node: Any,  # Of sqlglot
    ) -> None:
        "Note the calls of a node and of all below it."
        kind = type(node).__name__
        if kind in _OPERATORS:
            self._read_operator(node, kind)
            return
        reader: Callable[[Any], None] | None = getattr(self, f"_read_{kind.lower()}", None)
        if reader is None:
            self._refuse(node)
        else:
            reader(node)

    def _refuse(self, node: Any) -> None:
        self.found.unknown.add(f"the SQL text `{write_text(node)}` is not read")

    def _call(self, name: str, *arguments: Any) -> None:
        "Note a call, and what is in its arguments."
        self.found.calls.append(Call(name, [self._argument(one) for one in arguments]))
        for one in arguments:
            if not isinstance(one, str):
                self.read(one)

    def _argument(self, node: Any) -> Any:
        return node if isinstance(node, str) else _asked(write_text(node))

    def _has_only(self, node: Any, *names: str) -> bool:
        "Whether a node says nothing but what is read of it."
        others = {name for name, value in node.args.items() if value not in (None, False, [])}
        if others - {*names, *_NOTES}:
            self._refuse(node)
        return not others - {*names, *_NOTES}

    def _read_operator(self, node: Any, kind: str) -> None:
        sides = [side for side in (node.args.get("this"), node.args.get("expression")) if side is not None]
        if kind == "Neg" and type(node.this).__name__ == "Literal":
            return
        if kind in ("Like", "ILike") and node.args.get("negate"):
            self.found.calls.append(Call("not", [_asked("true")]))
        if self._has_only(node, "this", "expression", "negate"):
            self._call(_OPERATORS[kind], *sides)

    def _read_literal(self, node: Any) -> None:
        "It is what it is."

    _read_null = _read_boolean = _read_hexstring = _read_literal

    def _read_column(self, node: Any) -> None:
        name = node.name.lower()
        if len(node.parts) == 1 and not node.this.args.get("quoted") and name in _BARE_CALLS:
            self._call(name)
        elif any(type(part).__name__ == "Star" for part in node.parts):
            self._refuse(node)

    def _read_identifier(self, node: Any) -> None:
        self._refuse(node)  # a variable of a lambda that was not bound

    def _read_paren(self, node: Any) -> None:
        if self._has_only(node, "this"):
            self.read(node.this)

    def _read_alias(self, node: Any) -> None:
        if self._has_only(node, "this", "alias"):
            self.read(node.this)

    def _read_is(self, node: Any) -> None:
        if not self._has_only(node, "this", "expression", "negate"):
            return
        kind = type(node.expression).__name__
        if kind == "Null":
            self._call("isnotnull" if node.args.get("negate") else "isnull", node.this)
        elif kind == "Boolean":
            self._call("<=>", node.this, node.expression)
        else:
            self._refuse(node)

    def _read_in(self, node: Any) -> None:
        if self._has_only(node, "this", "expressions"):
            self._call("in", node.this, *node.expressions)

    def _read_between(self, node: Any) -> None:
        if self._has_only(node, "this", "low", "high"):
            self._call(">=", node.this, node.args["low"])
            self._call("<=", node.this, node.args["high"])

    def _read_case(self, node: Any) -> None:
        if not self._has_only(node, "ifs", "default"):
            return  # with a value to compare, too
        values = [one.args["true"] for one in node.args["ifs"]]
        self._conditional([one.this for one in node.args["ifs"]], [*values, node.args.get("default")])

    def _read_if(self, node: Any) -> None:
        if self._has_only(node, "this", "true", "false"):
            self._conditional([node.this], [node.args["true"], node.args.get("false")])

    def _conditional(self, conditions: list[Any], values: list[Any]) -> None:
        for condition in conditions:
            self._call("condition", condition)
        self._call("when", *(value for value in values if value is not None))

    def _read_cast(self, node: Any) -> None:
        if self._has_only(node, "this", "to"):
            name = "try_cast" if type(node).__name__ == "TryCast" else "cast"
            target = _asked(f"CAST(NULL AS {write_text(node.args['to'])})")
            self.found.calls.append(Call(name, [_asked(write_text(node.this)), target]))
            self.read(node.this)

    _read_trycast = _read_cast

    def _read_bracket(self, node: Any) -> None:
        if self._has_only(node, "this", "expressions") and len(node.expressions) == 1:
            self._call("[]", node.this, node.expressions[0])

    def _read_dot(self, node: Any) -> None:
        if type(node.expression).__name__ == "Identifier":
            self.found.calls.append(Call("[]", [_asked(write_text(node.this)), _asked("'field'")]))
            self.read(node.this)
        else:
            self._refuse(node)

    def _read_anonymous(self, node: Any) -> None:
        name, arguments = str(node.this).lower(), node.expressions
        if not self._has_only(node, "this", "expressions"):
            return
        if any(type(one).__name__ == "Distinct" for one in arguments):
            self._read_distinct_call(name, node, arguments)
        elif name == "if":
            self._conditional(arguments[:1], arguments[1:])
        elif name == "raise_error":  # what it says may differ, that it raises does not
            self.found.calls.append(Call(name, [_asked(write_text(one)) for one in arguments]))
        else:
            call = Call(name, [])
            self.found.calls.append(call)
            for one in arguments:
                self._read_argument(call, one)

    def _read_distinct_call(self, name: str, node: Any, arguments: list[Any]) -> None:
        if len(arguments) == 1 and self._has_only(arguments[0], "expressions"):
            self._call(f"{name} DISTINCT", *arguments[0].expressions)
        else:
            self._refuse(node)

    def _read_argument(self, call: Call, node: Any) -> None:
        kind = type(node).__name__
        if kind == "Star":
            call.arguments.append("*")
        elif kind == "Lambda":
            call.arguments.append("lambda")
            call.lambdas.append(self._lambda(node))
        else:
            call.arguments.append(_asked(write_text(node.this if kind == "Alias" else node)))
            self.read(node)

    def _lambda(self, node: Any) -> Lambda:
        from sqlglot import exp

        names = [variable.name for variable in node.expressions]

        def bind(types: list[Any]) -> Any:
            bound = dict(zip(names, types, strict=False))
            body = node.this.copy()
            for variable in list(_free(body, exp, set(bound))):
                variable.replace(exp.maybe_parse(f"({_null_text(bound[variable.name])})", dialect=_dialect()))
            return _asked(write_text(body)) if len(names) <= len(types) else None

        return Lambda(bind)

    def _read_window(self, node: Any) -> None:
        if not self._has_only(node, "this", "partition_by", "order", "spec", "over"):
            return
        order = node.args.get("order")
        ordered = order.expressions if order is not None else []
        frame = node.args.get("spec")
        bounds = [frame.args.get(name) for name in ("start", "end")] if frame is not None else []
        plain = all(isinstance(bound, str | None) or type(bound).__name__ == "Literal" for bound in bounds)
        call, ignores = node.this, type(node.this).__name__ == "IgnoreNulls"
        call = call.this if ignores else call
        if type(call).__name__ != "Anonymous" or not plain or not self._has_only(call, "this", "expressions"):
            self._refuse(node)
            return
        form = "over" if frame is None else f"over {str(frame.args['kind']).lower()}"
        for one in ordered:
            if self._has_only(one, "this", "desc", "nulls_first"):
                by = "order rows by" if form == "over rows" else "order by"
                self._call(f"{by}{nulls_of(one)}", one.this)
        for one in node.args.get("partition_by") or []:
            self._call("partition by", one)
        name = f"{str(call.this).lower()}{' ignore nulls' if ignores else ''} {form}"
        self._call(name, *("*" if type(one).__name__ == "Star" else one for one in call.expressions))


def nulls_of(
    order: Any,  # A parsed part of ORDER BY
) -> str:  # ` nulls moved` where NULL is not where Spark puts it by default
    "Tell where NULL stands: by default before all values, and after them where they descend."
    first = order.args.get("nulls_first")
    return "" if first is None or bool(first) != bool(order.args.get("desc")) else " nulls moved"


def _null_text(kind: Any) -> str:
    return f"CAST(NULL AS {kind.simpleString()})"


def _free(body: Any, exp: Any, names: set[str]) -> Iterator[Any]:
    "The places of a lambda's body where its variables stand."
    for node in body.walk():
        if isinstance(node, exp.Identifier) and node.name in names and not isinstance(node.parent, exp.Dot):
            yield node.parent if isinstance(node.parent, exp.Column) else node
