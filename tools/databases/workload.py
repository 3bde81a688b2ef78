"""A random workload of transactions on two tables: every kind of change, wide types, NULLs, rollbacks, and
two connections whose transactions overlap."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from database import Database
from feeds import TABLES

KINDS = ("insert", "update", "delete", "change key")
WEIGHTS = (40, 45, 14, 2)


class Workload:
    "Random changes; the same seed makes the same."

    def __init__(self, database: Database, connections: list[Any], seed: int):
        self.database, self.connections, self.draw = database, connections, random.Random(seed)
        self.ids = {table: set[int]() for table in TABLES}
        self.locked: dict[str, set[int]] = {table: set() for table in TABLES}
        self.done, self.next_id = dict.fromkeys((*KINDS, "truncate", "rolled back", "transactions"), 0), 1

    def make_changes(self, count: int) -> None:
        "Change rows in transactions that overlap in pairs, until at least so many are done."
        goal = sum(self.done[kind] for kind in KINDS) + count
        while sum(self.done[kind] for kind in KINDS) < goal:
            with self.transaction(0) as first, self.transaction(1) as second:
                for _ in range(self.draw.randint(1, 12)):
                    self.change_row(self.draw.choice((first, second)))
            if self.draw.random() < 0.005:  # alone, since it locks the table
                with self.transaction(0) as only:
                    self.truncate(only, "products")

    @contextmanager
    def transaction(self, place: int) -> Iterator["Transaction"]:
        "A transaction of its own connection, which is rolled back once in a while."
        transaction = Transaction(self.connections[place], {table: set() for table in TABLES})
        yield transaction
        is_undone = self.draw.random() < 0.1 and (
            self.database.undoes_truncates or "truncate" not in transaction.kinds
        )
        if is_undone:
            transaction.connection.rollback()
            self.done["rolled back"] += 1
            for undo in reversed(transaction.undo):
                undo()
        else:
            transaction.connection.commit()
            for kind in transaction.kinds:
                self.done[kind] += 1
        self.done["transactions"] += 1
        for table, ids in transaction.locked.items():
            self.locked[table] -= ids

    def change_row(self, transaction: "Transaction") -> None:
        "Make one change, of a row that the other transaction has not changed: it would wait for it."
        table = self.draw.choice(TABLES)
        [kind] = self.draw.choices(KINDS, WEIGHTS)
        free = sorted(self.ids[table] - (self.locked[table] - transaction.locked[table]))
        if kind == "insert" or not free:
            return self.insert(transaction, table)
        key = self.draw.choice(free)
        if kind == "delete":
            return self.delete(transaction, table, key)
        if kind == "change key":
            return self.change_key(transaction, table, key)
        names = self.draw.sample(sorted(self.database.columns), self.draw.randint(1, 4))
        assignments = ", ".join(f"{name} = %s" for name in names)
        values = [self.value(name) for name in names]
        transaction.execute(
            "update", table, {key}, f"UPDATE {table} SET {assignments} WHERE id = %s", [*values, key]
        )
        self.locked[table].add(key)

    def value(self, name: str) -> Any:
        "Make a value of a column, or NULL once in a while."
        return None if self.draw.random() < 0.1 else self.database.columns[name].make(self.draw)

    def insert(self, transaction: "Transaction", table: str) -> None:
        "Insert a row: a new id, or one that was there before."
        key = self.next_id = self.next_id + 1
        if self.draw.random() < 0.2:
            unused = set(range(1, self.next_id)) - self.ids[table] - self.locked[table]
            key = self.draw.choice(sorted(unused)) if unused else key
        names = [name for name in self.database.columns if self.draw.random() < 0.9]
        values = [self.value(name) for name in names]
        holes = ", ".join(["%s"] * (len(names) + 1))
        transaction.execute(
            "insert",
            table,
            {key},
            f"INSERT INTO {table} (id, {', '.join(names)}) VALUES ({holes})",
            [key, *values],
        )
        self.take(transaction, table, {key}, set())

    def delete(self, transaction: "Transaction", table: str, key: int) -> None:
        "Delete a row."
        transaction.execute("delete", table, {key}, f"DELETE FROM {table} WHERE id = %s", [key])
        self.take(transaction, table, set(), {key})

    def change_key(self, transaction: "Transaction", table: str, key: int) -> None:
        "Give a row another key, and all values that might lie outside the row."
        new = self.next_id = self.next_id + 1
        statement = f"UPDATE {table} SET id = %s, notes = %s WHERE id = %s"
        transaction.execute("change key", table, {key, new}, statement, [new, self.value("notes"), key])
        self.take(transaction, table, {new}, {key})

    def truncate(self, transaction: "Transaction", table: str) -> None:
        "Empty a table."
        every = set(self.ids[table])
        transaction.execute("truncate", table, every, f"TRUNCATE {table}", [])
        self.take(transaction, table, set(), every)

    def take(self, transaction: "Transaction", table: str, added: set[int], removed: set[int]) -> None:
        "Keep which rows there are, and what a rollback would bring back."
        before = set(self.ids[table])
        self.ids[table] = (self.ids[table] | added) - removed
        self.locked[table] |= added | removed

        def undo() -> None:
            self.ids[table] = (self.ids[table] - (added - before)) | (removed & before)

        transaction.undo.append(undo)


class Transaction:
    "A transaction that is open: what it has changed."

    def __init__(self, connection: Any, locked: dict[str, set[int]]):
        self.connection, self.locked = connection, locked
        self.kinds: list[str] = []
        self.undo: list[Any] = []

    def execute(self, kind: str, table: str, keys: set[int], statement: str, values: list) -> None:
        "Run a statement, and note what it touches."
        self.connection.execute(statement, values)
        self.kinds.append(kind)
        self.locked[table] |= keys
