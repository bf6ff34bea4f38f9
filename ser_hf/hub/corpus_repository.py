"""A corpus as a data set on the Hub: parquet with playable audio, the splits of protocols as configurations, a card.

Rows stand once, whatever protocols there are: those that are in the same part of each of them share files, and a
configuration is a list of files. Folds are a column, `PROTOCOL_fold`, the number of the fold that tests a clip. All of
it, folds' validation parts too, stands in ``splits/PROTOCOL.json`` beside, which the protocol `file` reads.
"""

import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
from datasets import Dataset, Value

from .. import __version__
from ..audio import WaveformStore, prepare
from ..cache import built_once, cache_root, key_of, told_size
from ..corpora import corpus_facts, read_corpus
from ..evaluation.page.words import counted, listed
from ..protocols import PARTS, Split, audit, save_splits, split_corpus
from .corpus_card import corpus_card
from .corpus_shards import SHARD_BYTES, encoded_clips, features_of, write_shards
from .machine_paths import machine_paths, require_no_paths
from .push import Pushed, push, whole_name
from .redistribution import require_right

logger = logging.getLogger(__name__)

# Patterns of what a push of this writes, and deletes where a later one has it no more.
OWNED = ("README.md", "data/*.parquet", "splits/*.json")
# What `read_corpus` takes beside the options of the corpus.
READING = ("labels", "merge", "drop", "exclude", "on_unknown")
_RATE = 16000
# Clips in no part of a protocol stand there.
_REST = "rest"
# The configuration with all clips; datasets calls the one part of what has no parts so.
_ALL, _WHOLE = "all", "train"


def publish_corpus(
    name: str,
    root: str | Path | None,
    repo_id: str,
    *,
    protocols: Mapping[str, Mapping[str, Any]] | None = None,
    original: bool = False,
    private: bool = False,
    have_right: bool = False,
    settings: Mapping[str, Any] | None = None,
    token: str | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Pushed:
    """Pushes a corpus whose licence allows it to a data set repository, or brings that up to date.

    Args:
        name, root: as `ser_hf.corpora.read_corpus` takes them.
        repo_id: USER/NAME, or NAME for whoever is signed in.
        protocols: {name of a protocol: its options}; the splits of each become a configuration.
        original: publishes the corpus's own files rather than FLAC at 16 kHz.
        private: of a repository that is made; one that exists stays as it is.
        have_right: the user's word that they may pass on what only they know.
        settings: what else `read_corpus` takes: options of the corpus, labels, merge, drop, exclude, on_unknown.
        shard_bytes: of audio in a file, about.

    Raises:
        UserError: if the licence does not allow it, the corpus cannot be read, or the Hub refuses it.
    """
    settings = dict(settings or {})
    options = {key: value for key, value in settings.items() if key not in READING}
    facts = corpus_facts(name, options)
    require_right(facts, original, have_right)
    repo_id = whole_name(repo_id, token)
    dataset, store = prepare(read_corpus(name, root, sampling_rate=_RATE, **settings).dataset, _RATE)
    splits = {own: split_corpus(dataset, own, **chosen) for own, chosen in (protocols or {}).items()}
    versions = [__version__, pa.__version__, soundfile.__libsndfile_version__]
    described = [versions, repo_id, original, shard_bytes, facts, store.folder.name]
    described += [[name, *(split.sha256 for split in own)] for name, own in splits.items()]
    rows = repr(dataset.remove_columns(["audio"])[:])
    folder = cache_root() / "corpora" / key_of([*described, hashlib.sha256(rows.encode()).hexdigest()])
    # What is staged stays until it is pushed, so that a push that was cut off need not encode it again.
    with built_once(folder) as fresh:
        if fresh is not None:
            told = {"facts": facts, "repo_id": repo_id, "splits": splits, "original": original}
            stage_corpus(dataset, store, fresh, **told, shard_bytes=shard_bytes)
            require_no_paths(fresh, machine_paths(root, settings.get("audio_root")))
    message = f"{facts['title']}: {len(dataset):,} clips"
    pushed = push(folder, repo_id, kind="dataset", private=private, message=message, owned=OWNED, token=token)
    shutil.rmtree(folder, ignore_errors=True)
    return pushed


def stage_corpus(
    dataset: Dataset,
    store: WaveformStore,
    folder: Path,
    *,
    facts: Mapping[str, Any],
    repo_id: str,
    splits: Mapping[str, Sequence[Split]] | None = None,
    original: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Fills `folder` with what the repository of a corpus holds. The same corpus gives the same bytes.

    Args:
        dataset, store: as `ser_hf.audio.prepare` gives them, at 16 kHz.
        facts: what `ser_hf.corpora.corpus_facts` says of it.
        splits: of each protocol, by its name; folds become a column, others a configuration.

    Raises:
        UserError: for a recording in two parts of a protocol.
    """
    # What names files, columns and configurations has no slashes: emobox_ravdess.
    splits = {name.replace("/", "_"): own for name, own in (splits or {}).items()}
    (folder / "data").mkdir(parents=True, exist_ok=True)
    if splits:
        (folder / "splits").mkdir(exist_ok=True)
    for name, own in splits.items():
        save_splits(own, [audit(split, dataset) for split in own], folder / "splits" / f"{name}.json")
        if len(own) > 1:
            dataset = dataset.add_column(f"{name}_fold", _folds(own, len(dataset)), feature=Value("int32"))
    parted = {name: _parts(own[0], len(dataset)) for name, own in splits.items() if len(own) == 1}
    cells: dict[str, list[int]] = {}
    for row in range(len(dataset)):
        cells.setdefault("-".join(parts[row] for parts in parted.values()) or "clips", []).append(row)
    rates = {*store.source_rates.tolist()} if original else {_RATE}
    features = features_of(dataset, rates.pop() if len(rates) == 1 else None, original)
    plain = dataset.remove_columns(["audio"]).with_format("arrow")[:]
    changed = cut = size = 0
    for cell, rows in sorted(cells.items()):
        clips = encoded_clips(dataset, store, rows, original)
        counts = write_shards(folder / "data", cell, plain, clips, features, shard_bytes)
        changed, cut, size = changed + counts[0], cut + counts[1], size + counts[2]
    logger.info("%s: %s clips, %s of parquet", facts["title"], f"{len(dataset):,}", told_size(size))
    sound = _sound(store, changed, cut, original)
    configs = configurations(parted, list(cells))
    card = corpus_card(dataset, facts, repo_id, splits, configs, list(features), sound)
    (folder / "README.md").write_text(card, encoding="utf-8")


def configurations(parted: Mapping[str, Sequence[str]], cells: Sequence[str]) -> list[dict[str, Any]]:
    """What the card lists: for each protocol the files of its parts, and all clips.

    Args:
        parted: {protocol: the part of each row}.
        cells: names of the groups of files, the parts of one row under each protocol, joined.
    """
    found = []
    for place, name in enumerate(parted):
        files = []
        for part in (*PARTS, _REST):
            own = [f"data/{cell}-*.parquet" for cell in sorted(cells) if cell.split("-")[place] == part]
            if own and part != _REST:
                files.append({"split": part, "path": own if len(own) > 1 else own[0]})
        found.append({"config_name": name, "data_files": files})
    found.append({"config_name": _ALL, "data_files": [{"split": _WHOLE, "path": "data/*.parquet"}]})
    found[0]["default"] = True
    return found


def _folds(splits: Sequence[Split], clips: int) -> list[int | None]:
    """The number of the first fold that tests each clip; None of one that none tests."""
    found: list[int | None] = [None] * clips
    for number, split in reversed([*enumerate(splits, start=1)]):
        for row in split.rows["test"]:
            found[row] = number
    return found


def _parts(split: Split, clips: int) -> list[str]:
    found = [_REST] * clips
    for part, rows in split.rows.items():
        for row in rows:
            found[row] = part
    return found


def _sound(store: WaveformStore, changed: int, cut: int, original: bool) -> str:
    """What became of the recordings, in sentences."""
    if original:
        rates = Counter(store.source_rates.tolist())
        told = listed([f"{rate:,} Hz" for rate in sorted(rates)])
        return f"The files are the corpus's own, byte for byte ({told})."
    resampled = int(np.count_nonzero(store.source_rates != _RATE))
    mixed = sum(channels > 1 for channels in store.channels)
    told = [f"resampled to {_RATE:,} Hz ({resampled:,} clips)"] * bool(resampled)
    told += [f"mixed to mono ({mixed:,})"] * bool(mixed)
    made = f"The recordings were {listed([*told, 'stored as 16-bit FLAC'])}."
    if not changed:
        return f"{made} {'Beside that nothing' if mixed else 'Nothing'} is lost: every sample is the recording's own."
    lost = (
        f"The samples of {changed:,} clips differ from their recordings' for it, by the rounding to 16 bits at least"
    )
    lost += (
        f"; {counted(cut, 'clip')} exceeded full scale when resampled, and {'is' if cut == 1 else 'are'} cut there."
    )
    lost = lost if cut else f"{lost.partition(';')[0]}."
    return f"{made} {lost} `recording_hash` is that of the recording, `content_hash` that of what is here."
