"""Finds the safetensors that the Hub's converter has made of a model's pickle.

The converter, the account `SFconvertbot`, opens a pull request in a repository that has only a
pickle. Its author rarely merges it. The pull request is used if its pickle has the same SHA-256 as
that of the requested revision. Nothing is written to the Hub: no conversion is started here.
"""

import logging
import os

from huggingface_hub import HfApi, ModelInfo

from .hub_connection import connection_problem

logger = logging.getLogger(__name__)

_CONVERTER = "SFconvertbot"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def converted_revision(
    source: str, revision: str | None = None, token: str | None = None
) -> str | None:
    """The pull request (`refs/pr/N`) with safetensors of a model on the Hub; None without one.

    The result is also None for a folder, and if the Hub cannot be reached.
    """
    if os.path.isdir(source) or connection_problem() is not None:
        return None
    try:
        return _pull_request(HfApi(token=token), source, revision)
    except Exception as error:  # the Hub's client raises errors of many kinds
        logger.debug("pull requests of %s: %s", source, error)
        return None


def _pull_request(api: HfApi, source: str, revision: str | None) -> str | None:
    """The open pull request of the converter whose pickle is that of the revision."""
    pickles = _pickle_hashes(api.model_info(source, revision=revision, files_metadata=True))
    if not pickles:
        return None
    discussions = api.get_repo_discussions(
        source,
        author=_CONVERTER,
        discussion_type="pull_request",
        discussion_status="open",
    )
    for discussion in discussions:
        if discussion.author != _CONVERTER or not discussion.is_pull_request:
            continue
        reference = discussion.git_reference
        info = api.model_info(source, revision=reference, files_metadata=True)
        names = [file.rfilename for file in info.siblings or ()]
        has_safetensors = any(name.endswith(".safetensors") for name in names)
        if has_safetensors and _pickle_hashes(info) == pickles:
            logger.info("weights of %s: safetensors of the Hub's converter, %s", source, reference)
            return reference
    return None


def _pickle_hashes(info: ModelInfo) -> dict[str, str]:
    """The SHA-256 of each pickle of a revision, by its file name."""
    hashes = {}
    for file in info.siblings or ():
        if file.rfilename.endswith(_PICKLES) and file.lfs is not None:
            hashes[file.rfilename] = file.lfs.sha256
    return hashes
