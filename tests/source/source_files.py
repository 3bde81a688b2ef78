"Source files that tests write and run."

import json
import textwrap

import pytest

from cdc_local.errors import PipelineError
from cdc_local.source.files import execute_source, read_source


def write_source(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip("\n"))
    return path


def write_notebook(path, *cells, **metadata):
    path.write_text(
        json.dumps({"cells": [{"cell_type": "code", "source": text} for text in cells], "metadata": metadata})
    )
    return path


def run_source(path, sql=None, **names):
    "Run a file; its globals afterwards"
    namespace = dict(names)
    execute_source(read_source(path), namespace, sql)
    return namespace


def failure_of(path, **names):
    "Run a file that fails; its error"
    with pytest.raises(PipelineError) as caught:
        run_source(path, **names)
    return caught.value
