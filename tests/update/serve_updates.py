"""Runs updates in a process that has one engine: a request a line on standard input, what came out a line on
standard output.

    python tests/update/serve_updates.py sail
"""

import json
import sys
from pathlib import Path

from cdc_local.errors import PipelineError
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update


def answer(engine: str, request: dict) -> dict:
    try:
        done = run_update(
            UpdateRequest(
                sources=tuple(request["sources"]),
                storage=Path(request["storage"]),
                full_refresh=tuple(request.get("full_refresh", ())),
                configuration=request.get("configuration", {}),
                engine=engine,
            )
        )
    except PipelineError as wrong:
        return {"state": "REFUSED", "error": type(wrong).__name__, "message": str(wrong)}
    flows = {
        flow.name: {
            "status": flow.status,
            "rows": flow.num_output_rows,
            "upserted": flow.num_upserted_rows,
            "deleted": flow.num_deleted_rows,
            "dropped": flow.dropped_records,
            "rules": sorted(
                [rule.name, rule.passed_records, rule.failed_records] for rule in flow.expectations
            ),
            "error": flow.error,
        }
        for flow in done.flows
    }
    warnings = [text for text in done.warnings if not text.endswith("to give the same on Sail as on Spark")]
    return {"state": done.state, "flows": flows, "warnings": warnings}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(sys.argv[1], json.loads(line))), flush=True)
