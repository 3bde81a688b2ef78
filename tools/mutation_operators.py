"""Mutations that Cosmic Ray's own operators leave out: a missing step or statement, `in` turned round."""

from collections.abc import Iterator
from typing import Any

import cosmic_ray.plugins
import parso
from cosmic_ray.operators.operator import Example, Operator

Place = tuple[tuple[int, int], tuple[int, int]]  # begin and end, each a line from 1 and a column from 0
# Places are listed before the first is changed: Cosmic Ray goes on asking for them while it changes the node.
PROVIDER = "cdc"


def _with_code(node: Any, code: str) -> Any:
    "A node that stands for other code, with the whitespace before it kept"
    leaf = node.get_first_leaf()
    return parso.python.tree.Name(code, node.start_pos, leaf.prefix)


class RemoveStatement(Operator):
    "Put `pass` for a statement that acts: a call, a `raise`, an assignment to a part, an addition."

    def mutation_positions(self, node: Any) -> Iterator[Place]:
        if node.type == "simple_stmt" and self._acts(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.children[0] = _with_code(node.children[0], "pass")
        return node

    def _acts(self, statement: Any) -> bool:
        if statement.type == "expr_stmt":
            target, sign = statement.children[:2]
            return target.type == "atom_expr" or (sign.type == "operator" and sign.value != "=")
        if statement.type in ("atom_expr", "await_expr", "yield_expr"):
            return True
        return statement.type in ("raise_stmt", "del_stmt")

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (
            Example("keep(1)\n", "pass\n"),
            Example("if a:\n    raise b\n", "if a:\n    pass\n"),
            Example("a.b = 1\n", "pass\n"),
        )


class ReturnNone(Operator):
    "Return None instead of a value."

    def mutation_positions(self, node: Any) -> Iterator[Place]:
        if node.type == "return_stmt" and node.children[1].get_code().strip() != "None":
            yield node.children[1].start_pos, node.children[1].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.children[1] = _with_code(node.children[1], "None")
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("def f(): return 1\n", "def f(): return None\n"),)


class RemoveMethodCall(Operator):
    "Leave out one call of a chain: `rows.where(x).select(y)` becomes `rows.select(y)`."

    def mutation_positions(self, node: Any) -> Iterator[Place]:
        yield from [(node.children[at].start_pos, node.children[at + 1].end_pos) for at in self._calls(node)]

    def mutate(self, node: Any, index: int) -> Any:
        at = self._calls(node)[index]
        del node.children[at : at + 2]
        return node

    def _calls(self, node: Any) -> list[int]:
        if node.type != "atom_expr":
            return []
        first = [child.children[0].value if child.type == "trailer" else "" for child in node.children]
        return [at for at in range(1, len(first) - 1) if first[at] == "." and first[at + 1] == "("]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("a.b(1).c()\n", "a.c()\n"), Example("a.b(1).c()\n", "a.b(1)\n", occurrence=1))


class RemoveKeywordArgument(Operator):
    "Leave out an argument that is given by name."

    def mutation_positions(self, node: Any) -> Iterator[Place]:
        yield from [(argument.start_pos, argument.end_pos) for argument in self._arguments(node)]

    def mutate(self, node: Any, index: int) -> Any:
        argument = self._arguments(node)[index]
        if node.type == "trailer":
            node.children.remove(argument)
            return node
        at = node.children.index(argument)
        comma = slice(at, at + 2) if at + 1 < len(node.children) else slice(at - 1, at + 1)
        del node.children[comma]
        return node

    def _arguments(self, node: Any) -> list[Any]:
        if node.type not in ("trailer", "arglist"):
            return []
        return [child for child in node.children if child.type == "argument" and child.children[1] == "="]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (
            Example("f(a, b=1)\n", "f(a)\n"),
            Example("f(b=1)\n", "f()\n"),
            Example("f(b=1, c=2)\n", "f( c=2)\n"),
        )


class SwapIn(Operator):
    "Ask `not in` for `in`, and the other way round."

    def mutation_positions(self, node: Any) -> Iterator[Place]:
        yield from [(node.children[at].start_pos, node.children[at].end_pos) for at in self._signs(node)]

    def mutate(self, node: Any, index: int) -> Any:
        at = self._signs(node)[index]
        node.children[at] = _with_code(
            node.children[at], "in" if "not" in node.children[at].get_code() else "not in"
        )
        return node

    def _signs(self, node: Any) -> list[int]:
        if node.type != "comparison":
            return []
        return [
            at for at in range(1, len(node.children), 2) if node.children[at].get_code().split()[-1] == "in"
        ]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("a in b\n", "a not in b\n"), Example("a not in b\n", "a in b\n"))


OPERATORS = {
    operator.__name__: operator
    for operator in (RemoveStatement, ReturnNone, RemoveMethodCall, RemoveKeywordArgument, SwapIn)
}


class Provider:
    "What Cosmic Ray asks of a plugin: the names of the operators, and each by its name."

    def __iter__(self) -> Iterator[str]:
        return iter(OPERATORS)

    def __getitem__(self, name: str) -> type[Operator]:
        return OPERATORS[name]


def register() -> None:
    "Give the operators to Cosmic Ray, beside its own."
    cosmic_ray.plugins.OPERATOR_PROVIDERS[PROVIDER] = Provider()
