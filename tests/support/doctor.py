"""Made corpora with planted faults, and the cases of `ser-hf doctor` about them."""

import soundfile

import ser_hf
from ser_hf.doctor.case import Case
from ser_hf.experiment.data import load_recipe_corpus
from ser_hf.experiment.reading import read_recipe
from support.recipes import TINY_CRNN
from support.testing.corpora import write_csv

# A network that learns few clips quickly.
QUICK_CRNN = {
    "architecture": "crnn",
    "channels": [8],
    "time_pooling": [8],
    "band_pooling": [4],
    "lstm_hidden": 32,
    "pooling": "mean_std",
    "dropout": 0.0,
    "conv_dropout": 0.0,
    "time_masks": 0,
    "band_masks": 0,
}
HEALTHY = {
    "name": "checked",
    "corpus": {"name": "synthetic", "speakers": 8, "takes": 2},
    "protocol": {"name": "speaker_independent", "validation": 0.25, "test": 0.25},
    "model": TINY_CRNN,
    "training": {"learning_rate": 0.01},
}


def case_of(folder, *overrides, seconds=600.0, **sections):
    """A case about the healthy recipe with other sections and overrides."""
    recipe = read_recipe(HEALTHY | sections, overrides)
    return Case(recipe, load_recipe_corpus(recipe), folder / "run", seconds)


def made_case(folder, *overrides, speakers=8, takes=2, change=None, edit=None, **sections):
    """A case about clips of the synthetic corpus in a folder, after a change.

    `change` gets the samples, the rate and the row of a clip, and returns samples and rate. `edit`
    gets the row {path, label, speaker, sex} of the table, and returns it or None.
    """
    table = write_clips(folder, speakers=speakers, takes=takes, change=change, edit=edit)
    sections = {"corpus": {"name": "csv", "root": str(table)}} | sections
    return case_of(folder, *overrides, **sections)


def write_clips(folder, speakers=8, takes=2, change=None, edit=None):
    """Write clips and their table, and return its path."""
    clips = ser_hf.load_corpus("synthetic", speakers=speakers, takes=takes)
    names = clips.features["label"].names
    rows = []
    for clip in clips:
        samples, rate = soundfile.read(clip["audio"]["path"], dtype="float32")
        name = clip["id"].rpartition("/")[2]
        row = {
            "path": f"{name}.wav",
            "label": names[clip["label"]],
            "speaker": clip["speaker"].partition(":")[2],
            "sex": clip["sex"],
        }
        if change is not None:
            samples, rate = change(samples, rate, row)
        soundfile.write(folder / row["path"], samples, rate)
        row = row if edit is None else edit(row)
        if row is not None:
            rows.append(row)
    table = folder / "clips.csv"
    write_csv(table, list(rows[0]), [list(row.values()) for row in rows])
    return table


def rated_corpus(folder):
    """The section of the table in a folder, with ratings of arousal."""
    return {
        "name": "csv",
        "root": str(folder / "clips.csv"),
        "targets": ["arousal"],
        "ranges": {"arousal": [1, 5]},
    }


def faults(outcome):
    """The names of the faults of a check."""
    return [str(problem.fault) for problem in outcome.problems]


def case_of_ratings(folder):
    """A case of a recipe for dimensions: each speaker has another rating."""
    return made_case(
        folder,
        task="dimensions",
        corpus=rated_corpus(folder),
        training={},
        edit=lambda row: row | {"arousal": f"{int(row['speaker']) % 5 + 1}"},
    )
