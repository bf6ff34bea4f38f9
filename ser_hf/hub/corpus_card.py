"""The card of a corpus on the Hub: whose it is, what may be done with it, who says what in it, how it loads."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from huggingface_hub import DatasetCardData

from ..protocols import PARTS, Split, fingerprint
from .card import templates
from .card_metadata import hub_page
from .licence import licence
from .vocabulary import LICENSES

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
