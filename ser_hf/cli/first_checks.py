"""What a verb checks and prints before it loads libraries, which takes seconds.

No module of this package imports torch, transformers or datasets before its first line.
"""

import contextlib
import logging
import os
from collections.abc import Sequence

from ..utils.errors import UserError

logger = logging.getLogger(__name__)

# Suffixes of models in a file.
_MODEL_FILES = (".onnx", ".pt2", ".json")
# Folders whose names begin a path here, never the name of a repository on the Hub.
_FOLDERS_OF_RUNS = ("runs", "evaluations", "models", "exports")


def announce(subject: str) -> None:
    """Print the first line of a verb: the next one needs libraries that load for seconds."""
    logger.info("%s: loading libraries", subject)


def require_model(source: str, key: str = "MODEL") -> None:
    """Refuse a model that can only be a path and does not exist; others may be on the Hub."""
    if os.path.exists(source):
        return
    parts = source.split("/")
    is_path = (
        os.path.isabs(source)
        or source.startswith((".", "~"))
        or source.endswith(_MODEL_FILES)
        or len(parts) > 2
        or (len(parts) == 2 and parts[0] in _FOLDERS_OF_RUNS)
    )
    if is_path:
        raise UserError(f"{key}: {source}: no such file or folder")


def require_models(sources: Sequence[str], key: str) -> None:
    """Refuse paths of several models as `require_model` does."""
    for source in sources:
        require_model(source, key)


def require_folder_of_corpus(root: str | None, key: str) -> None:
    """Refuse a folder or a table of a corpus that does not exist."""
    if root is not None and not os.path.exists(root):
        raise UserError(f"{key}: {root}: no such file or folder")


def require_free_run_folder(output: object, overwrite: bool) -> None:
    """Refuse the folder of another run.

    Of several processes each would see what another one has just written; they check it together
    when libraries are loaded.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1" or not isinstance(output, str | os.PathLike):
        return
    from ..utils.run_folder import RunFolder

    # A name that no file system takes is refused with the recipe.
    with contextlib.suppress(OSError):
        RunFolder(output).check({}, resume=False, overwrite=overwrite)
