"""Publishes a corpus as a data set on the Hub: parquet with playable audio, protocols as configurations, a card.

Each clip is stored once. Clips that are in the same split of every protocol share files, and a configuration is a list
of files. Folds are a column, `PROTOCOL_fold`: the number of the fold that tests the clip. ``splits/PROTOCOL.json``
describes each protocol completely; the protocol `file` reads it.

`Dataset.push_to_hub` would store the clips once for each configuration, in a commit each, and encode them again after
an interrupted push; so the tables are written to a folder, which one commit uploads.
"""

import hashlib
import io
import logging
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
from ..report.views import counted, listed
from ..utils.cache import built_once, cache_root, format_size, key_of
from ..utils.environment import __version__
from ..utils.errors import UserError
from ..utils.order import in_order
from .push import Pushed, machine_paths, push, require_no_paths, resolve_repo_id

logger = logging.getLogger(__name__)

# Patterns of the files that a push writes, and deletes if a later one does not contain them.
OWNED = ("README.md", "data/*.parquet", "splits/*.json")
# Settings of `read_corpus` besides the options of the corpus.
READING = ("labels", "merge", "drop", "exclude", "on_unknown")
SHARD_BYTES = 300_000_000
_ROW_GROUP = 100  # a reader of one row reads its whole group
_RATE = 16000
_FULL_SCALE = 32768
_AUDIO = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_SUFFIXES = {"WAV": ".wav", "WAVEX": ".wav", "FLAC": ".flac", "OGG": ".ogg", "MPEG": ".mp3", "MP3": ".mp3"}
_REST = "rest"  # clips in no split of a protocol
_MAX_SPEAKERS = 200  # of a table on the card

_COLUMNS = {
    "audio": "the clip, mono, playable",
    "label": "the emotion",
    "speaker": "the speaker, prefixed by the corpus",
    "corpus": "its name",
    "id": "of the clip, prefixed by the corpus",
    "sex": "of the speaker",
    "age": "of the speaker, in years",
    "language": "ISO 639",
    "sentence": "the spoken text",
    "intensity": "of the acted emotion",
    "take": "number of the repetition",
    "duration": "in seconds",
    "content_hash": "XXH3 of the decoded samples: equal for equal recordings",
    "recording_hash": "the same of the original recording",
    "votes": "shares of the raters, in the order of the labels",
}

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
_CREATIVE_COMMONS = re.compile(r"cc-by(-nc)?(-sa|-nd)?-[0-9.]+")


def require_right(facts: Mapping[str, Any], original: bool, have_right: bool) -> None:
    """Refuses to publish a corpus against its license.

    Args:
        facts: of the corpus, from `ser_hf.corpora.corpus_facts`.
        original: whether its files are published unchanged.
        have_right: whether users state that they may publish their own corpus.

    Raises:
        UserError: with the reason, and what to do.
    """
    name, title, license = facts["name"], facts["title"], facts["license"]
    if name == "mixture":
        raise UserError(
            "corpus: a mixture has several corpora, each with its own license; publish each of them, and name them in "
            "the mixture's recipe (corpora: [{name: hub, dataset: ...}, ...])"
        )
    if name in _REFUSED:
        source = f"; it is available from {facts['url']}" if facts["url"] else ""
        raise UserError(f"{title}: cannot be published: {_REFUSED[name]}{source}")
    if name in _USERS:
        if not have_right:
            raise UserError(
                f"{title}: only you know whether you may publish it, and whether its speakers agreed; confirm it by "
                "--i-have-the-right, and name the license by license=..."
            )
    elif license not in _FREE and not _CREATIVE_COMMONS.fullmatch(license or ""):
        raise UserError(f"{title}: cannot be published: its license, {license}, does not clearly allow it")
    elif "-nd-" in license and not original:
        raise UserError(
            f"{title}: its license, {license}, forbids publishing changed files, and resampled audio is changed; "
            "publish the files unchanged by --original"
        )


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
    """Pushes a corpus whose license allows it to a data set repository, or updates that.

    Args:
        name, root: as for `ser_hf.corpora.read_corpus`.
        repo_id: USER/NAME, or NAME for the user that is signed in.
        protocols: {name of a protocol: its options}; each becomes a configuration.
        original: publish the corpus's own files instead of FLAC at 16 kHz.
        private: of a repository that is created; an existing one stays as it is.
        have_right: the user may publish this corpus of their own.
        settings: other arguments of `read_corpus`: options of the corpus, labels, merge, drop, exclude, on_unknown.
        shard_bytes: of audio in a file, about.

    Raises:
        UserError: if the license does not allow it, the corpus cannot be read, or the Hub refuses it.
    """
    settings = dict(settings or {})
    facts = corpus_facts(name, {key: value for key, value in settings.items() if key not in READING})
    require_right(facts, original, have_right)
    repo_id = resolve_repo_id(repo_id, token)
    dataset, store = prepare(read_corpus(name, root, sampling_rate=_RATE, **settings).dataset, _RATE)
    splits = {own: split_corpus(dataset, own, **options) for own, options in (protocols or {}).items()}
    versions = [__version__, pa.__version__, soundfile.__libsndfile_version__]
    described = [versions, repo_id, original, shard_bytes, facts, store.folder.name]
    described += [[name, *(split.sha256 for split in own)] for name, own in splits.items()]
    rows = repr(dataset.remove_columns(["audio"])[:])
    folder = cache_root() / "corpora" / key_of([*described, hashlib.sha256(rows.encode()).hexdigest()])
    # The staged folder stays until it is pushed, so that an interrupted push does not encode it again.
    with built_once(folder) as partial:
        if partial is not None:
            arguments: Any = {"facts": facts, "repo_id": repo_id, "splits": splits, "original": original}
            stage_corpus(dataset, store, partial, **arguments, shard_bytes=shard_bytes)
            require_no_paths(partial, machine_paths(root, settings.get("audio_root")))
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
    """Fills `folder` with the content of the corpus's repository. The same corpus gives the same bytes.

    Args:
        dataset, store: from `ser_hf.audio.prepare`, at 16 kHz.
        facts: from `ser_hf.corpora.corpus_facts`.
        splits: of each protocol; several folds become a column, a single split a configuration.
    """
    # Names of files, columns and configurations contain no slashes: emobox_ravdess.
    splits = {name.replace("/", "_"): own for name, own in (splits or {}).items()}
    (folder / "data").mkdir(parents=True, exist_ok=True)
    split_of_row: dict[str, list[str]] = {}
    for name, own in splits.items():
        (folder / "splits").mkdir(exist_ok=True)
        save_splits(own, [audit(split, dataset) for split in own], folder / "splits" / f"{name}.json")
        if len(own) > 1:
            fold_of_row: list[int | None] = [None] * len(dataset)
            for number, split in reversed([*enumerate(own, start=1)]):  # of several folds the first
                for row in split.rows["test"]:
                    fold_of_row[row] = number
            dataset = dataset.add_column(f"{name}_fold", fold_of_row, feature=Value("int32"))
        else:
            split_of_row[name] = [_REST] * len(dataset)
            for part, rows in own[0].rows.items():
                for row in rows:
                    split_of_row[name][row] = part
    groups: dict[str, list[int]] = {}
    for row in range(len(dataset)):
        groups.setdefault("-".join(parts[row] for parts in split_of_row.values()) or "clips", []).append(row)
    features = _features(dataset, store, original)
    changed = clipped = 0
    for group, rows in sorted(groups.items()):
        counts = _write_shards(folder / "data", group, rows, dataset, store, features, original, shard_bytes)
        changed, clipped = changed + counts[0], clipped + counts[1]
    size = format_size(sum(path.stat().st_size for path in (folder / "data").iterdir()))
    logger.info("%s: %s clips, %s of parquet", facts["title"], f"{len(dataset):,}", size)
    configs = _configurations([*split_of_row], [*groups])
    sound = _sound(store, changed, clipped, original)
    card = _card(dataset, facts, repo_id, splits, configs, list(features), sound)
    (folder / "README.md").write_text(card, encoding="utf-8")


class Encoded(NamedTuple):
    """A clip as it is published: the content and name of its file, the hash of its decoded samples, and how many
    samples were clipped at full scale."""

    data: bytes
    name: str
    content_hash: str
    clipped: int


def as_flac(samples: np.ndarray, sampling_rate: int, name: str) -> Encoded:
    """Samples in [-1, 1], float32 (samples,), as 16-bit FLAC. 16-bit recordings are lossless; resampled and mixed ones
    are rounded (an error of 98 dB below full scale), and clipped at full scale."""
    scaled = np.rint(samples * np.float32(_FULL_SCALE))
    kept = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1)
    buffer = io.BytesIO()
    # As integers, since libsndfile would scale floats by 32,767.
    soundfile.write(buffer, kept.astype(np.int16), sampling_rate, format="FLAC", subtype="PCM_16")
    data = buffer.getvalue()
    clipped = int(np.count_nonzero((scaled > _FULL_SCALE) | (scaled < -_FULL_SCALE)))  # 1.0 itself loses nothing
    return Encoded(data, f"{name}.flac", decode(name, data).content_hash, clipped)


def _features(dataset: Dataset, store: WaveformStore, original: bool) -> Features:
    """Playable audio, the columns of the corpus, and the hash of the original recording where it differs."""
    rates = {*store.source_rates.tolist()} if original else {_RATE}
    found: dict[str, Any] = {"audio": Audio(sampling_rate=rates.pop() if len(rates) == 1 else None)}
    for name, feature in dataset.features.items():
        if name != "audio":
            found[name] = feature
        if name == "content_hash" and not original:
            found["recording_hash"] = Value("string")
    return Features(found)


def _write_shards(
    folder: Path,
    group: str,
    rows: Sequence[int],
    dataset: Dataset,
    store: WaveformStore,
    features: Features,
    original: bool,
    shard_bytes: int,
) -> tuple[int, int]:
    """Writes GROUP-00000-of-00002.parquet and so on; returns the number of clips whose samples differ from their
    recordings', and of those that were clipped."""
    ids, sources = dataset["id"][:], dataset["audio"][:]
    plain = dataset.remove_columns(["audio"]).with_format("arrow")[:]
    shards: list[Path] = []
    changed = clipped = 0

    def encode(row: int) -> Encoded:
        name = ids[row].partition("/")[2].replace("/", "_")
        if not original:
            return as_flac(store[row], store.sampling_rate, name)
        source = sources[row]
        data = source["bytes"] if source["bytes"] is not None else Path(source["path"]).read_bytes()
        suffix = _SUFFIXES.get(store.formats[row]) or Path(source["path"] or "").suffix
        return Encoded(data, f"{name}{suffix}", store.content_hashes[row], 0)

    def write(first: int, clips: Sequence[Encoded]) -> None:
        nonlocal changed, clipped
        own = plain.take(rows[first : first + len(clips)])
        columns = {name: own[name] for name in own.column_names}
        hashes = own["content_hash"].to_pylist()
        changed += sum(clip.content_hash != before for clip, before in zip(clips, hashes, strict=True))
        clipped += sum(clip.clipped > 0 for clip in clips)
        if "recording_hash" in features:  # a corpus that was published before has it already
            columns.setdefault("recording_hash", own["content_hash"])
        columns["audio"] = pa.array([{"bytes": clip.data, "path": clip.name} for clip in clips], _AUDIO)
        columns["content_hash"] = pa.array([clip.content_hash for clip in clips], pa.string())
        schema = features.arrow_schema
        table = pa.table([columns[name] for name in schema.names], schema=schema)
        shards.append(folder / f"{group}-{len(shards):05d}.partial")
        pq.write_table(table, shards[-1], row_group_size=_ROW_GROUP, use_content_defined_chunking=True)

    first, size, clips = 0, 0, []
    for clip in in_order(encode, rows):
        clips.append(clip)
        size += len(clip.data)
        if size >= shard_bytes:
            write(first, clips)
            first, size, clips = first + len(clips), 0, []
    if clips:
        write(first, clips)
    for path in shards:
        path.rename(path.with_name(f"{path.stem}-of-{len(shards):05d}.parquet"))
    return changed, clipped


def _configurations(protocols: Sequence[str], groups: Sequence[str]) -> list[dict[str, Any]]:
    """`configs` of the card: the files of each protocol's splits, and all clips.

    Args:
        groups: of files; the names of a clip's splits under each protocol, joined.
    """
    found = []
    for place, name in enumerate(protocols):
        files = []
        for part in PARTS:
            paths = [f"data/{group}-*.parquet" for group in sorted(groups) if group.split("-")[place] == part]
            if paths:
                files.append({"split": part, "path": paths if len(paths) > 1 else paths[0]})
        found.append({"config_name": name, "data_files": files})
    # datasets calls the only split of a data set without splits "train".
    found.append({"config_name": "all", "data_files": [{"split": "train", "path": "data/*.parquet"}]})
    found[0]["default"] = True
    return found


def _card(
    dataset: Dataset,
    facts: Mapping[str, Any],
    repo_id: str,
    splits: Mapping[str, Sequence[Split]],
    configs: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    sound: str,
) -> str:
    """README.md of a corpus's repository; `sound` describes the changes to the recordings."""
    names, speakers, labels = dataset.features["label"].names, dataset["speaker"][:], dataset["label"][:]
    clips, counts = Counter(labels), Counter(zip(speakers, labels, strict=True))
    seconds: Counter[int] = Counter()
    for label, duration in zip(labels, dataset["duration"][:], strict=True):
        seconds[label] += duration
    license = facts["license"]
    if license not in LICENSES or license == "other":
        license = license_metadata([facts], f"{hub_page(repo_id, 'datasets')}#license")
    else:
        license = {"license": license}
    data = DatasetCardData(
        language=facts["language"],
        pretty_name=facts["title"],
        task_categories=["audio-classification"],
        size_categories=size_category(len(dataset)),
        tags=["speech-emotion-recognition", "audio", "ser_hf"],
        configs=[dict(config) for config in configs],
        **license,
    )
    meanings = {f"{name}_fold": f"the fold of `{name}` that tests the clip" for name in splits} | _COLUMNS
    each = sorted(set(speakers))
    text = (
        templates()
        .get_template("corpus.md")
        .render(
            card_data=data.to_yaml(),
            corpus=facts,
            repo_id=repo_id,
            default=configs[0],
            configs=configs,
            clips=len(dataset),
            hours=sum(seconds.values()) / 3600,
            labels=[{"name": name, "clips": clips[i], "minutes": seconds[i] / 60} for i, name in enumerate(names)],
            number_of_speakers=len(each),
            speakers=[{"name": one, "counts": [counts[one, i] for i in range(len(names))]} for one in each]
            if len(each) <= _MAX_SPEAKERS
            else [],
            columns={name: meanings[name] for name in columns if name in meanings},
            own_columns=[name for name in columns if name not in meanings],
            protocols=[_protocol(name, own) for name, own in splits.items()],
            sound=sound,
            name=speakers[0].partition(":")[0],
            facts={key: facts[key] for key in ("title", "license", "url", "citation", "acted") if facts[key]},
        )
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def size_category(rows: int) -> str:
    """The Hub's word for a number of rows."""
    steps = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M"))
    return next((name for limit, name in steps if rows < limit), "10M<n<100M")


def _protocol(name: str, splits: Sequence[Split]) -> dict[str, Any]:
    """One protocol for the template of the card."""
    first = splits[0]
    if len(splits) == 1:
        parts = "; ".join(
            f"{part}: {len(first.ids[part]):,} clips of {len(first.speakers[part])} speakers" for part in PARTS
        )
    else:
        parts = f"{sum(len(split.ids['test']) for split in splits):,} clips, the test split of each fold"
    described = {"name": name, "protocol": first.name, "sha256": fingerprint(splits), "folds": len(splits)}
    return described | {"leak": first.leak, "notes": first.notes, "parts": parts}


def _sound(store: WaveformStore, changed: int, clipped: int, original: bool) -> str:
    """How the published audio differs from the recordings, in sentences."""
    if original:
        rates = listed([f"{rate:,} Hz" for rate in sorted({*store.source_rates.tolist()})])
        return f"The files are the corpus's own, byte for byte ({rates})."
    resampled = int(np.count_nonzero(store.source_rates != _RATE))
    mixed = sum(channels > 1 for channels in store.channels)
    steps = [f"resampled to {_RATE:,} Hz ({resampled:,} clips)"] * bool(resampled)
    steps += [f"mixed to mono ({mixed:,})"] * bool(mixed)
    text = f"The recordings were {listed([*steps, 'stored as 16-bit FLAC'])}."
    if not changed:
        return f"{text} {'Apart from the mixing, every' if mixed else 'Every'} sample is the recording's own."
    text += f" The samples of {changed:,} clips differ from their recordings', at least by the rounding to 16 bits"
    text += f"; {counted(clipped, 'clip')} exceeded full scale after resampling and were clipped." if clipped else "."
    return f"{text} `recording_hash` is that of the recording, `content_hash` that of the published audio."
