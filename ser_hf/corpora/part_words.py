"""What data sets and people call their parts, in lower case: the one table of these words.

`datasets` knows them but for devel, which audEERING's databases and challenges have; eval is its word for test.
"""

PART_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "devel"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


def part_of(word: str) -> str | None:
    """The part that a word means, in any capitals; None for another word."""
    return PART_WORDS.get(word.strip().lower())
