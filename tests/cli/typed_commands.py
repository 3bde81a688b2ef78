"How tests type a command: in this process, or in a shell."

import os
import subprocess
import sys
from types import SimpleNamespace

from typer.testing import CliRunner

from cdc_local.cli.main import app


def typed(*words):
    return CliRunner().invoke(app, list(words))


def shell(*typed, storage=None, **options):
    environ = {
        key: value
        for key, value in os.environ.items()
        if key not in ("COLUMNS", "CDC_STORAGE", "FORCE_COLOR")
    }
    if storage:
        environ["CDC_STORAGE"] = str(storage.root)
    return subprocess.run(
        [sys.executable, "-c", "from cdc_local.cli.main import main; main()", *typed],
        capture_output=True,
        text=True,
        env=environ,
        **options,
    )


def flow(**changes):
    return SimpleNamespace(
        **{
            "name": "customers",
            "dataset": "main.default.customers",
            "status": "COMPLETED",
            "num_output_rows": 20_000,
            "num_upserted_rows": None,
            "num_deleted_rows": None,
            "dropped_records": 0,
            "expectations": (),
            "seconds": 1.5,
            "error": None,
        }
        | changes
    )
