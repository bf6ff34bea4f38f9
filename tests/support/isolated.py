"""Code in a process without ser_hf, torchaudio and scikit-learn, to load published models."""

from pathlib import Path

from support.processes import shared_process

WITHOUT_SER_HF = """
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in ("ser_hf", "torchaudio", "sklearn")
        return None if hidden else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""


IMPORTS = """
import torch
import transformers.dynamic_module_utils
from transformers import AudioClassificationPipeline, pipeline
"""
# Each fork has its own folder for the remote code of models.
MOVED = """
import os
import transformers.dynamic_module_utils as own_code
os.chdir({folder!r})
own_code.HF_MODULES_CACHE = os.path.join({folder!r}, "modules")
"""


def run_without_ser_hf(code: str, folder: Path, path: str = "") -> str:
    """Runs code in `folder`, in a fork of a process that imported transformers, and returns its
    output.
    """
    start = shared_process(WITHOUT_SER_HF + IMPORTS, HF_HUB_OFFLINE="1", PYTHONPATH="")
    status, out, err = start(
        MOVED.format(folder=str(folder)) + code, PATH=path, HOME=str(folder)
    ).ended()
    assert status == 0, err
    return out
