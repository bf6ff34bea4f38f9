"""Draw the pictures of the README and of the gallery from runs.

    python benchmarks/pictures.py runs/quickstart
    python benchmarks/pictures.py runs/ravdess_parallel_cnn_transformer --gallery

The first command draws the top of a report's page, light and dark (it needs Chromium). The second
one takes pictures of a report for docs/gallery.md. Both reduce the colors with Pillow.
"""

import argparse
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

IMAGES = Path(__file__).parents[1] / "docs" / "images"
# Pixels of the window: narrow, so that little is empty beside the confusion matrix, and high enough
# for all of it.
WIDTH = 720
HEIGHT = 1300
SCALE = 2
# Pixels of the picture without ink below which it ends, so that no line of text is cut.
GAP = 40


GALLERY = (
    "confusion_matrix",
    "per_class",
    "slices",
    "training_curves",
    "reliability",
    "risk_coverage",
    "embeddings_by_emotion",
    "embeddings_by_speaker",
)
# The largest width of a picture of the gallery, in pixels.
GALLERY_WIDTH = 1000


def whole_lines(picture: Image.Image) -> Image.Image:
    """Cut a picture in the last gap between its parts."""
    pixels = np.asarray(picture.convert("RGB"))
    has_ink = (pixels != pixels[:, :1]).any(axis=(1, 2))
    inked_rows = np.flatnonzero(has_ink)
    ends = inked_rows[:-1][np.diff(inked_rows) > GAP]
    return picture.convert("RGB").crop((0, 0, picture.width, int(ends[-1]) + GAP // 2))


def save_small(picture: Image.Image, path: Path) -> None:
    """Save a picture with 64 colors, which takes a quarter of the bytes."""
    picture.quantize(64).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1024} KB")


def draw_readme(report: Path) -> None:
    """The top of a report's page, light and dark."""
    page = (report / "index.html").resolve(strict=True)
    for name, dark in (("report-light.png", []), ("report-dark.png", ["--force-dark-mode"])):
        picture = IMAGES / name
        command = [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            *dark,
            f"--window-size={WIDTH},{HEIGHT}",
            f"--force-device-scale-factor={SCALE}",
            f"--screenshot={picture}",
            page.as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True)
        save_small(whole_lines(Image.open(picture)), picture)


def draw_gallery(report: Path) -> None:
    """The pictures of a report, at most `GALLERY_WIDTH` wide."""
    folder = IMAGES / "gallery"
    folder.mkdir(exist_ok=True)
    for name in GALLERY:
        picture = Image.open(report / f"{name}.png").convert("RGB")
        picture.thumbnail((GALLERY_WIDTH, GALLERY_WIDTH))
        save_small(picture, folder / f"{name}.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--gallery", action="store_true", help="pictures for docs/gallery.md")
    options = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    draw = draw_gallery if options.gallery else draw_readme
    draw(options.run / "report")


if __name__ == "__main__":
    main()
