"""A corpus as a data set on the Hub: parquet with playable audio, the splits of protocols as configurations, a card.

Rows stand once, whatever protocols there are: those that are in the same part of each of them share files, and a
configuration is a list of files. Folds are a column, `PROTOCOL_fold`, the number of the fold that tests a clip. All of
it, folds' validation parts too, stands in ``splits/PROTOCOL.json`` beside, which the protocol `file` reads.
"""

import hashlib
import io
import logging
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
from ..report.citations import LICENSES, licence
from ..report.views import counted, listed
from ..utils.cache import built_once, cache_root, format_size, key_of
from ..utils.environment import __version__
from ..utils.errors import UserError
from ..utils.parallel import in_order
from .push import Pushed, machine_paths, push, require_no_paths, whole_name

_COLUMNS = {
    "audio": "the clip, mono, playable",
    "label": "the emotion",
    "speaker": "who speaks, behind the corpus's name",
    "corpus": "its name",
    "id": "names the clip, behind the corpus's name",
    "sex": "of the speaker",
    "age": "of the speaker, in years",
    "language": "ISO 639",
    "sentence": "what is said",
    "intensity": "how strongly it was to be acted",
    "take": "which repetition",
    "duration": "in seconds",
    "content_hash": "XXH3 of the decoded samples: equal for equal recordings",
    "recording_hash": "the same of the recording that it was made from",
    "votes": "shares of the raters, in the order of the labels",
}
# A table of more speakers is for nobody to read.
_MOST_SPEAKERS = 200


def corpus_card(
    dataset: Dataset,
    facts: Mapping[str, Any],
    repo_id: str,
    splits: Mapping[str, Sequence[Split]],
    configs: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    sound: str,
) -> str:
    """README.md of a corpus's repository.

    Args:
        facts: what `ser_hf.corpora.corpus_facts` says of it.
        splits: of each protocol.
        configs: what the card lists for the viewer and for `load_dataset`.
        columns: of its tables.
        sound: what became of the recordings, in sentences.
    """
    names, speakers = dataset.features["label"].names, dataset["speaker"][:]
    counts = Counter(zip(speakers, dataset["label"][:], strict=True))
    page = hub_page(repo_id, "datasets")
    data = DatasetCardData(
        language=facts["language"],
        pretty_name=facts["title"],
        task_categories=["audio-classification"],
        size_categories=size_category(len(dataset)),
        tags=["speech-emotion-recognition", "audio", "ser_hf"],
        configs=[dict(config) for config in configs],
        **_licence(facts, page),
    )
    seconds: Counter[int] = Counter()
    for label, duration in zip(dataset["label"][:], dataset["duration"][:], strict=True):
        seconds[label] += duration
    labels = [
        {"name": name, "clips": sum(counts[speaker, i] for speaker in set(speakers)), "minutes": seconds[i] / 60}
        for i, name in enumerate(names)
    ]
    each = sorted(set(speakers))
    told = {name: _COLUMNS.get(name) or _of_protocol(name, splits) for name in columns}
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
            labels=labels,
            number_of_speakers=len(each),
            speakers=[{"name": one, "counts": [counts[one, i] for i in range(len(names))]} for one in each]
            if len(each) <= _MOST_SPEAKERS
            else [],
            columns={name: meaning for name, meaning in told.items() if meaning},
            own_columns=[name for name, meaning in told.items() if not meaning],
            protocols=[_protocol(name, own) for name, own in splits.items()],
            sound=sound,
            name=speakers[0].partition(":")[0],
            facts={key: facts[key] for key in ("title", "license", "url", "citation", "acted") if facts[key]},
        )
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def size_category(rows: int) -> str:
    """As the Hub counts rows."""
    steps = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M"))
    return next((told for most, told in steps if rows < most), "10M<n<100M")


def _licence(facts: Mapping[str, Any], page: str) -> dict[str, str]:
    """The corpus's own, which is its copy's too; one of the user's in words of their own has its name."""
    own = facts["license"]
    return {"license": own} if own in LICENSES and own != "other" else licence([facts], f"{page}#licence")


def _of_protocol(column: str, splits: Mapping[str, Sequence[Split]]) -> str | None:
    name = column.removesuffix("_fold")
    return f"the fold of `{name}` that tests the clip" if name != column and name in splits else None


def _protocol(name: str, splits: Sequence[Split]) -> dict[str, Any]:
    """One protocol as the card tells it."""
    first = splits[0]
    told = {
        "name": name,
        "protocol": first.name,
        "sha256": fingerprint(splits),
        "folds": len(splits),
        "leak": first.leak,
        "notes": first.notes,
    }
    parts = [f"{part}: {len(first.ids[part]):,} clips of {len(first.speakers[part])} speakers" for part in PARTS]
    tested = sum(len(split.ids["test"]) for split in splits)
    return told | {"parts": "; ".join(parts) if len(splits) == 1 else f"{tested:,} clips, each fold's test part"}


SHARD_BYTES = 300_000_000
# A row group is read as a whole by whoever wants one row of it.
_GROUP_ROWS, _GROUP_BYTES = 100, 30_000_000
_FULL_SCALE = 32768
_AUDIO = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_SUFFIXES = {"WAV": ".wav", "WAVEX": ".wav", "FLAC": ".flac", "OGG": ".ogg", "MPEG": ".mp3", "MP3": ".mp3"}


class Encoded(NamedTuple):
    """A clip as it is published: the bytes of its file, the name that the file has, the hash of what they decode to
    (`ser_hf.audio.decode.Decoded.content_hash`), and how many samples were cut at full scale."""

    data: bytes
    name: str
    content_hash: str
    clipped: int


def as_flac(samples: np.ndarray, sampling_rate: int, name: str) -> Encoded:
    """Samples in [-1, 1], float32 (samples,), as 16-bit FLAC. What was 16-bit comes back to the bit; what was
    resampled or mixed is rounded (an error of 98 dB below full scale), and cut where it exceeds full scale."""
    scaled = np.rint(samples * np.float32(_FULL_SCALE))
    kept = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1)
    buffer = io.BytesIO()
    # As whole numbers: libsndfile would scale floats by 32,767, and no clip would come back as it was.
    soundfile.write(buffer, kept.astype(np.int16), sampling_rate, format="FLAC", subtype="PCM_16")
    data = buffer.getvalue()
    # Of a sample at 1.0 exactly nothing is heard to be lost.
    clipped = int(np.count_nonzero((scaled > _FULL_SCALE) | (scaled < -_FULL_SCALE)))
    return Encoded(data, f"{name}.flac", decode(name, data).content_hash, clipped)


def encoded_clips(
    dataset: Dataset, store: WaveformStore, rows: Sequence[int], original: bool
) -> Iterator[tuple[int, Encoded]]:
    """Row and file of each of the rows, in their order: the recordings' own where `original`, else FLAC of `store`."""
    ids, sources = dataset["id"][:], dataset["audio"][:]

    def work(row: int) -> tuple[int, Encoded]:
        name = ids[row].partition("/")[2].replace("/", "_")
        if not original:
            return row, as_flac(store[row], store.sampling_rate, name)
        source = sources[row]
        data = source["bytes"] if source["bytes"] is not None else Path(source["path"]).read_bytes()
        suffix = _SUFFIXES.get(store.formats[row]) or Path(source["path"] or "").suffix
        return row, Encoded(data, f"{name}{suffix}", store.content_hashes[row], 0)

    return in_order(work, rows)


def features_of(dataset: Dataset, sampling_rate: int | None, original: bool) -> Features:
    """Of what is published: the corpus's columns with playable audio, and behind `content_hash`, where that is not the
    recording's, `recording_hash`, which is."""
    found: dict = {"audio": Audio(sampling_rate=sampling_rate)}
    for name, feature in dataset.features.items():
        if name != "audio":
            found[name] = feature
        if name == "content_hash" and not original:
            found["recording_hash"] = Value("string")
    return Features(found)


def write_shards(
    folder: Path,
    cell: str,
    plain: pa.Table,
    clips: Iterator[tuple[int, Encoded]],
    features: Features,
    shard_bytes: int = SHARD_BYTES,
) -> tuple[int, int, int]:
    """Writes ``CELL-00000-of-00002.parquet`` and so on; returns how many clips have other samples than their
    recordings, how many were cut at full scale, and the bytes of all files.

    Args:
        plain: all columns but the audio, of all rows.
        clips: rows and their files, each encoded when it is asked for.
    """
    schema, shards, changed, cut = features.arrow_schema, [], 0, 0
    writer, size = None, 0
    for group in _groups(clips, min(_GROUP_BYTES, shard_bytes)):
        if writer is not None and size >= shard_bytes:
            writer.close()
            writer = None
        if writer is None:
            shards.append(folder / f"{cell}-{len(shards):05d}.partial")
            writer, size = pq.ParquetWriter(shards[-1], schema, use_content_defined_chunking=True), 0
        table = _table(plain, group, features)
        hashes = plain["content_hash"].to_pylist()
        changed += sum(clip.content_hash != hashes[row] for row, clip in group)
        cut += sum(clip.clipped > 0 for _, clip in group)
        writer.write_table(table)
        size += sum(len(clip.data) for _, clip in group)
    if writer is not None:
        writer.close()
    for number, path in enumerate(shards):
        path.rename(folder / f"{cell}-{number:05d}-of-{len(shards):05d}.parquet")
    return changed, cut, sum(path.stat().st_size for path in folder.glob(f"{cell}-?????-of-?????.parquet"))


def _groups(clips: Iterator[tuple[int, Encoded]], most: int) -> Iterator[list[tuple[int, Encoded]]]:
    group: list[tuple[int, Encoded]] = []
    size = 0
    for clip in clips:
        group.append(clip)
        size += len(clip[1].data)
        if len(group) == _GROUP_ROWS or size >= most:
            yield group
            group, size = [], 0
    if group:
        yield group


def _table(plain: pa.Table, group: Sequence[tuple[int, Encoded]], features: Features) -> pa.Table:
    own = plain.take([row for row, _ in group])
    columns = {name: own[name] for name in own.column_names}
    if "recording_hash" in features:  # as a corpus that was published before has it already
        columns.setdefault("recording_hash", own["content_hash"])
    columns["audio"] = pa.array([{"bytes": clip.data, "path": clip.name} for _, clip in group], _AUDIO)
    columns["content_hash"] = pa.array([clip.content_hash for _, clip in group], pa.string())
    schema = features.arrow_schema
    return pa.table([columns[name] for name in schema.names], schema=schema)


# Corpora whose makers give them to those who ask, or put no licence on them; what each says.
_REFUSED = {
    "emodb": "its release names no licence, only that research may use it",
    "esd": "its makers give it for research, on a signed form",
    "iemocap": "its agreement forbids passing it on",
    "meld": "its recordings belong to the makers of a television series, whatever licence its page names",
    "savee": "its makers ask everybody to register, and not to pass it on",
}
# Corpora of which their user alone knows what they are; a licence in their options is that user's word.
_TOLD = ("audformat", "audiofolder", "csv", "emobox", "hub")
_FREE = {
    *("cc0-1.0", "pddl", "unlicense", "mit", "apache-2.0", "odc-by", "odbl"),
    *("cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0"),
}
_CREATIVE_COMMONS = re.compile(r"cc-by(-nc)?(-sa|-nd)?-[0-9.]+")


def require_right(facts: Mapping[str, Any], original: bool, have_right: bool) -> None:
    """Refuses to pass on what may not be passed on, or not so.

    Args:
        facts: what `ser_hf.corpora.corpus_facts` says of the corpus.
        original: whether its own files are passed on, unchanged.
        have_right: whether the user says that they may pass on a corpus of which they alone know.

    Raises:
        UserError: with why, and what to do.
    """
    name, title, license = facts["name"], facts["title"], facts["license"]
    if name == "mixture":
        raise UserError(
            "corpus: a mixture is several corpora, each with a licence of its own; publish each by itself, and name "
            "them in the mixture's recipe (corpora: [{name: hub, dataset: ...}, ...])"
        )
    if name in _REFUSED:
        source = f"; its users get it from {facts['url']}" if facts["url"] else ""
        raise UserError(f"{title}: not to be published: {_REFUSED[name]}{source}")
    if name in _TOLD:
        if not have_right:
            raise UserError(
                f"{title}: only you can know whether it may be passed on, and whether its speakers agreed; say so "
                "with --i-have-the-right, and under which licence with license=..."
            )
        return
    if license not in _FREE and not _CREATIVE_COMMONS.fullmatch(license or ""):
        raise UserError(f"{title}: not to be published: its licence, {license}, is none that plainly allows it")
    if "-nd-" in license and not original:
        raise UserError(
            f"{title}: its licence, {license}, forbids passing on what is changed, and resampled audio is; publish "
            "the files as they are, with --original"
        )


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
    logger.info("%s: %s clips, %s of parquet", facts["title"], f"{len(dataset):,}", format_size(size))
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
