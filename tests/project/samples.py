"Samples of feeds, as six tools write the same story: order 1 is new and paid, order 2 is new and deleted."

import json

TABLE = "orders"
LEFT = [(1, "paid")]  # What the story leaves of columns id and status


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def debezium(folder):
    parts = [{"field": "id", "type": "int64"}, {"field": "status", "type": "string"}]
    parts.append(
        {
            "field": "total",
            "type": "bytes",
            "name": "org.apache.kafka.connect.data.Decimal",
            "parameters": {"scale": "2", "connect.decimal.precision": "10"},
        }
    )
    schema = {"fields": [{"field": "after", "fields": parts}]}
    rows = [("c", 1, "new"), ("c", 2, "new"), ("u", 1, "paid"), ("d", 2, None)]
    events = []
    for lsn, (op, key, status) in enumerate(rows, 100):
        row = {"id": key, "status": status, "total": "E4g="}
        source = {"connector": "postgresql", "schema": "public", "table": TABLE, "lsn": lsn}
        event = {"op": op, "source": source, "ts_ms": 1, "before": None, "after": None}
        event["before" if op == "d" else "after"] = row
        events.append({"schema": schema, "payload": event})
    write_lines(folder / "events.json", events)


def dms(folder):
    folder.mkdir(parents=True)
    sequence = "20260301080000{:021d}".format
    lines = ["Op,change_seq,id,status", f"I,{sequence(1)},1,new", f"I,{sequence(2)},2,NULL"]
    lines += [f"U,{sequence(3)},1,paid", f"D,{sequence(4)},2,NULL"]
    (folder / "20260301-080000000.csv").write_text("\n".join(lines) + "\n")


def sqlserver(folder):
    rows = [(2, 1, "new"), (2, 2, "new"), (3, 1, "new"), (4, 1, "paid"), (1, 2, "new")]
    write_lines(
        folder / "rows.json",
        [
            {
                "__$start_lsn": f"0x{number:020X}",
                "__$seqval": f"0x{number:020X}",
                "__$operation": operation,
                "__$command_id": 1,
                "id": key,
                "status": status,
            }
            for number, (operation, key, status) in enumerate(rows, 1)
        ],
    )


def wal2json(folder):
    rows = [("I", 1, "new"), ("I", 2, "new"), ("U", 1, "paid"), ("D", 2, None)]
    lines = [{"action": "B"}]
    for number, (action, key, status) in enumerate(rows, 1):
        named = [{"name": "id", "type": "integer", "value": key}]
        row = [*named, {"name": "status", "type": "character varying(9)", "value": status}]
        place = {"lsn": f"0/{number:X}", "schema": "public", "table": TABLE}
        images = {"identity": named} if action == "D" else {"columns": row}
        lines.append({"action": action} | place | images)
    write_lines(folder / "lines.json", [*lines, {"action": "C"}])


def airbyte(folder):
    rows = [(1, "new", None), (2, "new", None), (1, "paid", None), (2, None, "2026-03-01T08:00:04Z")]
    write_lines(
        folder / "part.json",
        [
            {
                "id": key,
                "status": status,
                "_ab_cdc_lsn": number,
                "_ab_cdc_updated_at": f"2026-03-01T08:00:0{number}Z",
                "_ab_cdc_deleted_at": deleted,
            }
            for number, (key, status, deleted) in enumerate(rows, 1)
        ],
    )


def snapshots(folder):
    for day, lines in (("2026-03-01", ["1,new", "2,new"]), ("2026-03-02", ["1,paid"])):
        (folder / day).mkdir(parents=True)
        (folder / day / "part.csv").write_text("\n".join(["id,status", *lines]) + "\n")
        (folder / day / "_SUCCESS").touch()


def plain(folder):
    rows = [(1, "new", "INSERT"), (2, "new", "INSERT"), (1, "paid", "UPDATE"), (2, "new", "DELETE")]
    write_lines(
        folder / "rows.json",
        [
            {"id": key, "status": status, "operation": operation, "at": f"2026-03-01T08:00:0{number}Z"}
            for number, (key, status, operation) in enumerate(rows)
        ],
    )
