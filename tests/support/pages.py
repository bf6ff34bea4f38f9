"""README and docs, and their code blocks."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
OF_THE_SITE = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "AGENTS.md", "CONTRIBUTING.md", "benchmarks/README.md")
    ),
    *OF_THE_SITE,
]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of one language, without their fences."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def named_recipes() -> dict[str, str]:
    """Recipes that a page writes: their first line is a comment with the name of the file."""
    texts = [block for page in PAGES for block in blocks(page, "yaml")]
    return {
        name: text for text in texts for name in re.findall(r"\A# (\S+\.yaml)$", text, re.MULTILINE)
    }
