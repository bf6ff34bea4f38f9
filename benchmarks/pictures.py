"""Draw the pictures of the README from a run: the top of its report page, light and dark.

python benchmarks/pictures.py runs/quickstart          (needs Chromium, and quantizes with Pillow)
"""

import argparse
import subprocess
from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WIDTH = 1000
HEIGHT = 1140


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
        command += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True)
        # a quarter of the bytes
        Image.open(picture).convert("RGB").quantize(64).save(picture, optimize=True)
        print(f"{picture}: {picture.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
