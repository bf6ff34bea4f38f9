"""What is to be heard: a recording, and those that are the rows of a dataset."""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator

from datasets import Audio, ClassLabel, Dataset

from ..corpora.cells import text
from ..errors import UserError


@dataclasses.dataclass(frozen=True)
class Recording:
    """One recording: the file at `path`, or `data` where its bytes are at hand. `label` is what it is known as, in any
    words, None where nothing is known. `start` and `end` are seconds of the file, where a part of it is meant. `fault`
    is why it cannot be heard, where that is known beforehand, with the remedy."""

    id: str
    path: str
    label: str | None = None
    speaker: str | None = None
    data: bytes | None = None
    start: float = 0.0
    end: float | None = None
    fault: str | None = None

    @property
    def place(self) -> tuple[str, float, float | None]:
        """The same whatever path leads to the file."""
        file = os.path.realpath(self.path) if self.data is None else self.id
        return file, self.start, self.end


def from_dataset(dataset: Dataset) -> Iterator[Recording]:
    """The rows of a dataset, as `ser_hf.load_corpus` returns it or any other with a column `audio`; those of the
    columns `id`, `label` and `speaker` that it has are kept. Bytes that it holds are read row by row. Without an id of
    its own a row has the path of its audio, with the number of the row where that was met before.

    Raises:
        UserError: if there is no column `audio`, or an id stands in two rows.
    """
    if "audio" not in dataset.column_names:
        raise UserError(f"inputs: a dataset without a column audio ({', '.join(dataset.column_names)})")
    if "id" in dataset.column_names:
        own, count = Counter(name for name in dataset["id"][:] if name is not None).most_common(1)[0]
        if count > 1:
            raise UserError(f"inputs: {count} rows of the dataset have the id {own!r}; give each one of its own")
    return _rows(dataset)


def _rows(dataset: Dataset) -> Iterator[Recording]:
    kept = [name for name in ("audio", "id", "label", "speaker") if name in dataset.column_names]
    label = dataset.features.get("label")
    names = label.names if isinstance(label, ClassLabel) else None
    met = set()
    for number, row in enumerate(dataset.select_columns(kept).cast_column("audio", Audio(decode=False))):
        audio, known = row["audio"] or {"path": None, "bytes": None}, row.get("label")
        if names and known is not None:
            known = names[known] if known >= 0 else None  # -1 where a public test part hides its labels
        path = audio["path"] or f"row {number}"
        fault = f"row {number}: holds no audio" if audio["path"] is None and audio["bytes"] is None else None
        own = text(row.get("id")) or (f"{path} (row {number})" if path in met else path)
        met.add(path)
        yield Recording(own, path, text(known), text(row.get("speaker")), audio["bytes"], fault=fault)
