"""Train recipes whose corpus is not at hand on clips of another corpus in the same shape: do their
settings work?

    OMP_NUM_THREADS=1 python benchmarks/proxies.py [NAME ...] [--corpora data] [--set KEY=VALUE ...]
    [--readme]

- `savee_crnn`: four speakers of EMO-DB, whose levels differ by up to 25 dB (a constant gain per
  speaker, seed 1), as those of SAVEE do; two of them are for training.
- `tess_crnn`: two actresses of RAVDESS (02 and 04), one of them for training. TESS has 23 times as
  many clips, so the proxy has 20 times as many epochs.
- `cremad_mfcc`, `cremad_cnn1d_descriptors`, `cremad_cnn2d`: the six emotions of CREMA-D in RAVDESS
  (24 speakers, not 91), without the foil. CREMA-D has 7 times as many clips: epochs, patience and
  the patience of the rate are 7 times as many, so that the steps are the same.
- `mixture_four_cnn2d`: clips of RAVDESS in four parts without common speakers: 10 actors as
  RAVDESS, 10 as CREMA-D (without calm and surprise), 2 as TESS, and four speakers of EMO-DB as
  SAVEE; 7 times as many epochs of a seventh of the steps.

A figure on a proxy says whether the settings train, and nothing about the corpus: the proxies are
development data. benchmarks/results/proxies.json is resumed: recipes with a row are left out unless
named.
"""

import argparse
import csv
import tempfile
from collections.abc import Collection
from pathlib import Path

import level
from fixed_split import read, summary, write

import ser_hf

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "proxies.json"
SAVEE_SPREAD = -25.0  # dB
CREMAD = ["corpus={name: ravdess, root: ROOT, drop: [calm, surprise]}", "protocol.foil=null"]
LONGER = ["training.early_stopping.patience=56", "training.lr_scheduler_kwargs.patience=21"]
PROXIES = {
    "savee_crnn": ["corpus={name: emodb, root: ROOT}"],
    "tess_crnn": ["corpus={name: ravdess, root: ROOT}", "training.num_train_epochs=200"],
    "cremad_mfcc": CREMAD,
    "cremad_cnn1d_descriptors": [*CREMAD, *LONGER, "training.num_train_epochs=350"],
    "cremad_cnn2d": [*CREMAD, *LONGER, "training.num_train_epochs=245"],
    "mixture_four_cnn2d": [
        "corpus.corpora=[{name: ravdess, root: ROOT}, {name: csv, corpus_name: cremad, root: "
        "ROOT/cremad.csv, "
        "weight: 0.5}, {name: csv, corpus_name: tess, root: ROOT/tess.csv}, {name: csv, "
        "corpus_name: savee, "
        "root: ROOT/savee.csv, weight: 2.0}]",
        "training.num_train_epochs=280",
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PROXIES)}")
    parser.add_argument("--corpora", type=Path, default=Path("data"))
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--readme", action="store_true", help="print the table without running anything"
    )
    options = parser.parse_args()
    for name in (
        []
        if options.readme
        else options.names or [name for name in PROXIES if name not in read(RESULTS)]
    ):
        with tempfile.TemporaryDirectory() as folder:
            measure(name, options.corpora, Path(folder), options.set)
    lines = [
        "| recipe | clips, speakers of the test | UAR | 95 % interval | chance |",
        "|---|---|---|---|---|",
    ]
    for name, row in read(RESULTS).items():
        low, high = row["intervals"]["uar"]
        figures = f"{row['metrics']['uar']:.3f} | {low:.3f} to {high:.3f} | {row['chance']:.3f}"
        lines.append(f"| `{name}` | {row['clips']}, {row['speakers']} | {figures} |")
    print("\n".join(lines))


def measure(name: str, corpora: Path, folder: Path, changes: list[str]) -> None:
    """Run the recipe on its proxy, below a temporary folder, and save its row."""
    root = folder / "corpus"
    root.mkdir()
    if name == "savee_crnn":
        level.LOWEST_GAIN = SAVEE_SPREAD
        level.write_copies(corpora / "EMO-DB", root, seed=1)
    elif name == "mixture_four_cnn2d":
        actors = [f"ravdess:{number:02d}" for number in range(1, 25)]
        link(corpora, root, actors[:10])
        write_table(
            root / "cremad.csv", "ravdess", corpora / "RAVDESS", actors[10:20], {"calm", "surprise"}
        )
        write_table(root / "tess.csv", "ravdess", corpora / "RAVDESS", actors[21:24:2])
        write_table(
            root / "savee.csv",
            "emodb",
            corpora / "EMO-DB",
            [f"emodb:{id}" for id in ("03", "08", "09", "10")],
        )
    else:
        link(corpora, root, ["ravdess:02", "ravdess:04"] if name == "tess_crnn" else ["ravdess:*"])
    overrides = [item.replace("ROOT", str(root)) for item in PROXIES[name]]
    overrides += [f"audio.cache_dir={folder / 'cache'}", f"output_dir={folder / 'run'}", *changes]
    report = ser_hf.run_recipe(ROOT / "recipes" / f"{name}.yaml", overrides).to_dict()
    row = summary(report) | {
        "clips": report["clips"],
        "speakers": report["speakers"],
        "changes": changes,
    }
    row |= {"chance": 1 / len(report["labels"]), "warnings": report["warnings"]}
    write(RESULTS, read(RESULTS) | {name: row})


def link(corpora: Path, root: Path, speakers: list[str]) -> None:
    """Link these actors of RAVDESS below `root`."""
    for number in (speaker.partition(":")[2] for speaker in speakers):
        for actor in (corpora / "RAVDESS").glob(f"Actor_{number}"):
            (root / actor.name).symlink_to(actor.resolve())


def write_table(
    path: Path, corpus: str, root: Path, speakers: list[str], left_out: Collection[str] = ()
) -> None:
    """Write a table of the clips of these speakers, as `corpus.name: csv` reads it."""
    dataset = ser_hf.load_corpus(corpus, root)
    names = dataset.features["label"].names
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "speaker"])
        for audio, label, speaker in zip(
            dataset["audio"], dataset["label"], dataset["speaker"], strict=True
        ):
            if speaker in speakers and names[label] not in {"boredom", *left_out}:
                writer.writerow([Path(audio["path"]).resolve(), names[label], speaker])


if __name__ == "__main__":
    main()
