"""Draw the pictures of the README from a run: the top of its report page, light and dark.

python benchmarks/pictures.py runs/quickstart          (needs Chromium, and quantizes with Pillow)
"""

import argparse
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

IMAGES = Path(__file__).parents[1] / "docs" / "images"
# Pixels of the window: as narrow as the confusion matrix allows, so that little is empty.
WIDTH = 660
HEIGHT = 1200
SCALE = 2
# Pixels of the picture without ink below which it ends, so that no line of text is cut.
GAP = 40


def whole_lines(picture: Image.Image) -> Image.Image:
    """Cut a picture in the last gap between its parts."""
    pixels = np.asarray(picture.convert("RGB"))
    has_ink = (pixels != pixels[:, :1]).any(axis=(1, 2))
    inked_rows = np.flatnonzero(has_ink)
    ends = inked_rows[:-1][np.diff(inked_rows) > GAP]
    return picture.convert("RGB").crop((0, 0, picture.width, int(ends[-1]) + GAP // 2))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    page = (parser.parse_args().run / "report" / "index.html").resolve(strict=True)
    IMAGES.mkdir(exist_ok=True)
    for name, dark in (("report-light.png", []), ("report-dark.png", ["--force-dark-mode"])):
        picture = IMAGES / name
        command = [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            *dark,
        ]
        command += [
            f"--window-size={WIDTH},{HEIGHT}",
            f"--force-device-scale-factor={SCALE}",
            f"--screenshot={picture}",
            page.as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True)
        # a quarter of the bytes
        whole_lines(Image.open(picture)).quantize(64).save(picture, optimize=True)
        print(f"{picture}: {picture.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
