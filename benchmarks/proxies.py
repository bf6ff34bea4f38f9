"""Train recipes whose corpus is not at hand on clips of another corpus in the same shape: do their settings work?

    OMP_NUM_THREADS=1 python benchmarks/proxies.py [NAME ...] [--corpora data] [--set KEY=VALUE ...] [--readme]

- `savee_crnn`: four speakers of EMO-DB, whose levels differ by up to 25 dB (a constant gain per speaker, seed 1), as
  those of SAVEE do; two of them are for training.
- `tess_crnn`: two actresses of RAVDESS (02 and 04), one of them for training. TESS has 23 times as many clips, so the
  proxy has 20 times as many epochs.
- `cremad_mfcc`, `cremad_cnn1d_descriptors`, `cremad_cnn2d`: the six emotions of CREMA-D in RAVDESS (24 speakers, not
  91), without the foil. CREMA-D has 7 times as many clips: epochs, patience and the patience of the rate are 7 times
  as many, so that the steps are the same.

A figure on a proxy says whether the settings train, and nothing about the corpus: the proxies are development data.
benchmarks/results/proxies.json is resumed: recipes with a row are left out unless named.
"""

import argparse
import tempfile
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
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PROXIES)}")
    parser.add_argument("--corpora", type=Path, default=Path("data"))
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--readme", action="store_true", help="print the table without running anything")
    options = parser.parse_args()
    for name in [] if options.readme else options.names or [name for name in PROXIES if name not in read(RESULTS)]:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, options.corpora, Path(folder), options.set)
    lines = ["| recipe | clips, speakers of the test | UAR | 95 % interval | chance |", "|---|---|---|---|---|"]
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
    else:
        actors = ("02", "04") if name == "tess_crnn" else ("*",)
        for actor in (found for number in actors for found in (corpora / "RAVDESS").glob(f"Actor_{number}")):
            (root / actor.name).symlink_to(actor.resolve())
    overrides = [item.replace("ROOT", str(root)) for item in PROXIES[name]]
    overrides += [f"audio.cache_dir={folder / 'cache'}", f"output_dir={folder / 'run'}", *changes]
    report = ser_hf.run_recipe(ROOT / "recipes" / f"{name}.yaml", overrides).to_dict()
    row = summary(report) | {"clips": report["clips"], "speakers": report["speakers"], "changes": changes}
    row |= {"chance": 1 / len(report["labels"]), "warnings": report["warnings"]}
    write(RESULTS, read(RESULTS) | {name: row})


if __name__ == "__main__":
    main()
