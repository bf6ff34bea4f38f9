"""Publishes a corpus as a dataset on the Hub: parquet with playable audio, splits as files, a card.

The first protocol with one split gives the files (train, validation, test, and `rest` for other clips).
``splits/PROTOCOL.json`` describes each protocol completely; the protocol `file` reads it.

One commit uploads a folder of these files; `Dataset.push_to_hub` makes several, and a card without a license.
"""

import io
import itertools
import logging
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from datasets import Audio, Dataset, Features, Value
from huggingface_hub import DatasetCardData

from ..audio import WaveformStore, decode, prepare
from ..corpora import corpus_facts, read_corpus
from ..protocols import PARTS, Split, audit, fingerprint, save_splits, split_corpus
from ..report.card import hub_page, templates
from ..report.citations import LICENSES, license_metadata
from ..utils.cache import cache_root, format_size
from ..utils.errors import UserError
from ..utils.order import in_order
from .push import Pushed, machine_paths, push, require_no_paths, resolve_repo_id

logger = logging.getLogger(__name__)

# Patterns of the files that a push writes, and deletes if a later one does not contain them.
OWNED = ("README.md", "data/*.parquet", "splits/*.json")
# Settings of `read_corpus` besides the options of the corpus.
READING = ("labels", "merge", "drop", "exclude", "on_unknown")
_ROW_GROUP = 100  # a reader of one row reads its whole group
_RATE = 16000
_FULL_SCALE = 32768

# Corpora that only their makers distribute, or without a license.
_REFUSED = {
    "emodb": "its release names no license, and allows research only",
    "esd": "its makers distribute it for research, on a signed form",
    "iemocap": "its agreement forbids redistribution",
    "meld": "its recordings belong to the makers of a television series, whatever license its page names",
    "savee": "its makers require registration, and forbid redistribution",
}
# Corpora of the user; a license in their options is the user's statement.
_USERS = ("audformat", "audiofolder", "csv", "emobox", "hub")
_FREE = {
    *("cc0-1.0", "pddl", "unlicense", "mit", "apache-2.0", "odc-by", "odbl"),
    *("cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0"),
}
_CREATIVE_COMMONS = re.compile(r"cc-by(-nc)?(-sa)?-[0-9.]+")


def require_right(facts: Mapping[str, Any], have_right: bool) -> None:
    """Refuse to publish a corpus against its license; `have_right` is the user's statement about their own corpus."""
    name, title, license = facts["name"], facts["title"], facts["license"]
    if name == "mixture":
        reason = "cannot be published: each of its corpora has its own license; publish them one by one"
    elif name in _REFUSED:
        reason = f"cannot be published: {_REFUSED[name]}; it is available from {facts['url'] or 'its makers'}"
    elif name in _USERS and not have_right:
        reason = "confirm by --i-have-the-right that you may publish it and its speakers agreed, with license=..."
    elif name in _USERS or license in _FREE or _CREATIVE_COMMONS.fullmatch(license or ""):
        return
    elif "-nd-" in (license or ""):
        reason = f"cannot be published: its license, {license}, forbids changed files, such as FLAC at 16 kHz"
    else:
        reason = f"cannot be published: its license, {license}, does not clearly allow it"
    raise UserError(f"{title}: {reason}")


def publish_corpus(
    name: str,
    root: str | Path | None,
    repo_id: str,
    *,
    protocols: Mapping[str, Mapping[str, Any]] | None = None,
    private: bool = False,
    have_right: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Pushed:
    """Push a corpus whose license allows it to a dataset repository, or update that.

    Args:
        name, root: as for `ser_hf.corpora.read_corpus`.
        repo_id: USER/NAME, or NAME for the user that is signed in.
        protocols: {name of a protocol: its options}.
        private: of a repository that is created; an existing one stays as it is.
        have_right: the user may publish this corpus of their own.
        settings: other arguments of `read_corpus`: options of the corpus, labels, merge, drop, exclude, on_unknown.

    Returns:
        The repository and its newest commit.

    Raises:
        UserError: if the license forbids it, a setting is wrong, or the Hub refuses the upload.
    """
    settings = dict(settings or {})
    facts = corpus_facts(name, {key: value for key, value in settings.items() if key not in READING})
    require_right(facts, have_right)
    repo_id = resolve_repo_id(repo_id)
    dataset, store = prepare(read_corpus(name, root, sampling_rate=_RATE, **settings).dataset, _RATE)
    splits = {own: split_corpus(dataset, own, **options) for own, options in (protocols or {}).items()}
    with tempfile.TemporaryDirectory(prefix="publish-", dir=cache_root()) as temporary:
        folder = Path(temporary)
        stage_corpus(dataset, store, folder, facts=facts, repo_id=repo_id, splits=splits)
        require_no_paths(folder, machine_paths(root, settings.get("audio_root")))
        message = f"{facts['title']}: {len(dataset):,} clips"
        return push(folder, repo_id, kind="dataset", private=private, message=message, owned=OWNED)


def stage_corpus(
    dataset: Dataset,
    store: WaveformStore,
    folder: Path,
    *,
    facts: Mapping[str, Any],
    repo_id: str,
    splits: Mapping[str, Sequence[Split]] | None = None,
) -> None:
    """Fill `folder` with the content of the corpus's repository. The same corpus gives the same bytes.

    `dataset` and `store` are from `ser_hf.audio.prepare`, at 16 kHz.
    """
    # Names of files contain no slashes: emobox_ravdess.
    splits = {name.replace("/", "_"): own for name, own in (splits or {}).items()}
    for name, own in splits.items():
        (folder / "splits").mkdir(parents=True, exist_ok=True)
        save_splits(own, [audit(split, dataset) for split in own], folder / "splits" / f"{name}.json")
    parts = ["train"] * len(dataset)
    if first := next((own[0] for own in splits.values() if len(own) == 1), None):
        part_of = {row: part for part, rows in first.rows.items() for row in rows}
        parts = [part_of.get(row, "rest") for row in range(len(dataset))]
    (folder / "data").mkdir(parents=True, exist_ok=True)
    columns = dataset.remove_columns(["audio"]).with_format("arrow")[:]
    ids = dataset["id"][:]

    def clip(row: int) -> dict[str, Any]:
        data, name = as_flac(store[row], _RATE), ids[row].partition("/")[2].replace("/", "_")
        return {"bytes": data, "path": f"{name}.flac", "content_hash": decode(name, data).content_hash}

    for part in sorted(set(parts)):
        rows = [row for row, own in enumerate(parts) if own == part]
        _write_parquet(folder / "data" / f"{part}.parquet", columns.take(rows), in_order(clip, rows), dataset.features)
    size = format_size(sum(path.stat().st_size for path in (folder / "data").iterdir()))
    logger.info("%s: %s clips, %s of parquet", facts["title"], f"{len(dataset):,}", size)
    card = _card(dataset, facts, repo_id, splits, {*parts})
    (folder / "README.md").write_text(card, encoding="utf-8")


def as_flac(samples: np.ndarray, sampling_rate: int) -> bytes:
    """Samples in [-1, 1], float32 (samples,), as 16-bit FLAC.

    16-bit recordings are lossless; resampled and mixed ones are rounded, an error of 98 dB below full scale.
    """
    integers = np.rint(samples * np.float32(_FULL_SCALE)).clip(-_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
    buffer = io.BytesIO()
    # As integers, since libsndfile would scale floats by 32,767.
    soundfile.write(buffer, integers, sampling_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _write_parquet(path: Path, columns: pa.Table, clips: Iterator[dict[str, Any]], features: Features) -> None:
    """Write rows with their clips, and the hash of each original recording."""
    features = Features(dict(features) | {"audio": Audio(sampling_rate=_RATE), "recording_hash": Value("string")})
    schema = features.arrow_schema
    with pq.ParquetWriter(path, schema, use_content_defined_chunking=True) as writer:
        for first in range(0, len(columns), _ROW_GROUP):
            group = [*itertools.islice(clips, _ROW_GROUP)]
            own = {name: columns.slice(first, len(group))[name] for name in columns.column_names}
            own.setdefault("recording_hash", own["content_hash"])  # a published corpus has it already
            own["content_hash"] = pa.array([clip.pop("content_hash") for clip in group], pa.string())
            own["audio"] = pa.array(group, schema.field("audio").type)
            writer.write_table(pa.table([own[name] for name in schema.names], schema=schema))


def _card(
    dataset: Dataset,
    facts: Mapping[str, Any],
    repo_id: str,
    splits: Mapping[str, Sequence[Split]],
    parts: set[str],
) -> str:
    """README.md of a corpus's repository."""
    names, speakers, labels = dataset.features["label"].names, dataset["speaker"][:], dataset["label"][:]
    clips, seconds = Counter(labels), dict.fromkeys(range(len(names)), 0.0)
    for label, duration in zip(labels, dataset["duration"][:], strict=True):
        seconds[label] += duration
    license = facts["license"]
    if license not in LICENSES or license == "other":
        license = license_metadata([facts], f"{hub_page(repo_id, 'datasets')}#license")
    else:
        license = {"license": license}
    # datasets calls the only split of a dataset without splits "train".
    configs = [{"config_name": "all", "data_files": [{"split": "train", "path": "data/*.parquet"}]}]
    if len(parts) > 1:
        files = [{"split": part, "path": f"data/{part}.parquet"} for part in PARTS if part in parts]
        configs.insert(0, {"config_name": "default", "data_files": files, "default": True})
    data = DatasetCardData(
        language=facts["language"],
        pretty_name=facts["title"],
        task_categories=["audio-classification"],
        tags=["speech-emotion-recognition", "audio", "ser_hf"],
        configs=configs,
        **license,
    )
    text = templates().get_template("corpus.md")
    rendered = text.render(
        card_data=data.to_yaml(),
        corpus=facts,
        repo_id=repo_id,
        configs=configs,
        clips=len(dataset),
        hours=sum(seconds.values()) / 3600,
        labels=[{"name": name, "clips": clips[i], "minutes": seconds[i] / 60} for i, name in enumerate(names)],
        number_of_speakers=len(set(speakers)),
        columns=dict.fromkeys([*dataset.features, "recording_hash"]),
        protocols=[_protocol(name, own) for name, own in splits.items()],
        name=speakers[0].partition(":")[0],
        facts={key: facts[key] for key in ("title", "license", "url", "citation", "acted") if facts[key]},
    )
    return re.sub(r"\n{3,}", "\n\n", rendered)


def _protocol(name: str, splits: Sequence[Split]) -> dict[str, Any]:
    """One protocol for the template of the card."""
    first = splits[0]
    sizes = [f"{part}: {len(first.ids[part]):,} clips of {len(first.speakers[part])} speakers" for part in PARTS]
    if len(splits) > 1:
        sizes = [f"{sum(len(split.ids['test']) for split in splits):,} clips, the test split of each fold"]
    described = {"name": name, "protocol": first.name, "sha256": fingerprint(splits), "folds": len(splits)}
    return described | {"leak": first.leak, "notes": first.notes, "parts": "; ".join(sizes)}
