"""Runs run.py of every folder that is named and prints where each one ends.

    python3 run.py FOLDER...

One line of JSON per folder: {"name", "path", "line", "error"}; path is the file
of the folder in which PyTorch raised, empty if nothing did.
"""

import json
import os
import runpy
import sys
import traceback

import numpy  # noqa: F401 (imported once, for all)
import torch
import torch.utils.data  # noqa: F401

sys.dont_write_bytecode = True
ours = set(sys.modules)
for folder in sys.argv[1:]:
    os.chdir(folder)
    sys.path.insert(0, folder)
    end = {"name": os.path.basename(folder), "path": "", "line": 0, "error": ""}
    try:
        runpy.run_path("run.py")
    except Exception as error:  # whatever it is, it is what the folder does
        end["error"] = str(error)
        for frame in traceback.extract_tb(error.__traceback__):
            path = os.path.abspath(frame.filename)
            if path.startswith(folder + os.sep):
                end["path"], end["line"] = os.path.relpath(path, folder), frame.lineno
    print(json.dumps(end), flush=True)
    sys.path.remove(folder)
    torch.set_default_dtype(torch.float32)
    for name in [m for m in sys.modules if m not in ours and getattr(sys.modules[m], "__file__", None) and sys.modules[m].__file__.startswith(folder)]:
        del sys.modules[name]
