"""Loads the files of an audio dataset, within bounds and from no other place than the dataset."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datasets import (
    Dataset,
    DatasetBuilder,
    DownloadConfig,
    DownloadManager,
    config,
    load_dataset_builder,
)
from datasets.utils import logging

from ..utils.bounds import require_bounded
from ..utils.errors import UserError

# The formats of `datasets` in which a column of audio can be embedded.
_FORMATS = ("parquet", "arrow", "csv", "json", "audiofolder", "webdataset")


class BoundedDownloads(DownloadManager):
    """A download manager that refuses files which unpack to too much, before they are unpacked."""

    def download(self, url_or_urls: Any) -> Any:
        paths = super().download(url_or_urls)
        for path in _leaves(paths):
            if os.path.isfile(path):
                require_bounded(path)
        return paths


def load_splits(
    source: str, name: str | None = None, revision: str | None = None
) -> dict[str, Dataset]:
    """Load the splits of a dataset: an id on the Hub, a folder, or one Parquet file.

    Args:
        source: the id, or the path of the folder or file.
        name: a configuration of the dataset's card.
        revision: the commit of a dataset on the Hub; None for a path.

    Raises:
        UserError: if a file is out of bounds, in a format without audio, or outside the dataset.
        Exception: of many types, from `datasets`, for files that it cannot read.
    """
    if revision is None and Path(source).is_file():
        builder = load_dataset_builder("parquet", data_files=source)
        place = os.path.abspath(source)
    elif revision is None:
        folder = os.path.abspath(source)
        builder = load_dataset_builder(folder, name)
        place = f"{folder}{os.sep}"
    else:
        builder = load_dataset_builder(source, name, revision=revision)
        place = f"hf://datasets/{source}@{revision}/"
    _require_format(builder, source)
    _require_inside(builder, source, place)
    with _without_error_messages():
        builder.download_and_prepare(dl_manager=_downloads(builder))
        return dict(builder.as_dataset())


@contextlib.contextmanager
def _without_error_messages() -> Iterator[None]:
    """Hide the messages with which `datasets` announces the errors that it raises."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _downloads(builder: DatasetBuilder) -> BoundedDownloads:
    settings = DownloadConfig(
        cache_dir=str(config.DOWNLOADED_DATASETS_PATH),
        use_etag=False,  # the files of a commit do not change
        token=builder.token,
        storage_options=builder.storage_options,
    )
    return BoundedDownloads(
        dataset_name=builder.dataset_name,
        download_config=settings,
        data_dir=builder.config.data_dir,
        base_path=builder.base_path,
        record_checksums=False,
    )


def _require_format(builder: DatasetBuilder, source: str) -> None:
    """Raise a UserError for a format of `datasets` in which no audio is embedded."""
    file_format = type(builder).__module__.rpartition(".")[2]
    if file_format not in _FORMATS:
        raise UserError(
            f"{source}: its files have the format {file_format}; audio is read from "
            f"{', '.join(_FORMATS)}"
        )


def _require_inside(builder: DatasetBuilder, source: str, place: str) -> None:
    """Raise a UserError if the card of a dataset names a file in another place.

    A card may name any path of this machine, or any address.
    """
    data_files = builder.config.data_files
    for path in _leaves(dict(data_files) if isinstance(data_files, Mapping) else data_files):
        inside = path if "://" in path else os.path.abspath(path)
        if not inside.startswith(place):
            raise UserError(
                f"{source}: its README.md names a file outside of the dataset, {path!r:.150}; "
                "remove it from data_files"
            )


def _leaves(value: Any) -> list[str]:
    """All texts in nested mappings and lists."""
    if isinstance(value, Mapping):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [] if value is None else [str(value)]
