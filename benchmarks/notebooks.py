"""Run the notebooks in examples/ and keep their outputs in the files.

    python benchmarks/notebooks.py quickstart own_recordings      (needs nbclient and ipykernel)

Runs are in a temporary folder. Pictures in outputs are SVG.
"""

import argparse
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

WIDGET = "application/vnd.jupyter.widget-view+json"
EXAMPLES = Path(__file__).parents[1] / "examples"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", metavar="NAME")
    for name in parser.parse_args().names:
        path = EXAMPLES / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            resources = {"metadata": {"path": folder}}
            client = NotebookClient(
                notebook, timeout=3600, resources=resources, coalesce_streams=True
            )
            client.execute()
        tidy(notebook)
        nbformat.write(notebook, path)
        print(f"{path}: {path.stat().st_size // 1024} KB")


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Remove times, versions of the kernel, and progress bars, which only a kernel can show."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_widget(output)]


def is_widget(output: nbformat.NotebookNode) -> bool:
    return WIDGET in output.get("data", {})


if __name__ == "__main__":
    main()
