"""Paths below `/Volumes` in Python's own file functions."""

import builtins
import io
import os
from functools import wraps

from cdc_local.analysis.evaluation import current_evaluation
from cdc_local.storage import Storage, localize


def file_patches(
    storage: Storage,  # Where volumes lie
) -> list[tuple]:  # (module, function, replacement)
    "What Python's own file functions do with `/Volumes/…` while the user's code runs."

    def mapped(original):
        @wraps(original)
        def function(path, *args, **kwargs):
            if current_evaluation.get() is not None and isinstance(path, (str, os.PathLike)):
                text = os.fspath(path)
                if isinstance(text, str) and text.startswith(("/Volumes/", "/dbfs/")):
                    path = localize(storage, text)
            return original(path, *args, **kwargs)

        return function

    names = ("listdir", "scandir", "stat", "lstat", "mkdir", "rmdir", "remove", "unlink", "open", "access")
    return [(builtins, "open", mapped), (io, "open", mapped), *[(os, name, mapped) for name in names]]
