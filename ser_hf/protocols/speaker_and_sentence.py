"""Speaker- and sentence-disjoint: the test part is new speakers saying new words."""

from datasets import Dataset

from ..errors import UserError
from .draws import check_share, draw_groups, hold_out
from .speaker_independent import speaker_independent
from .split import Split, make_split, read_column, rows_where

NAME = "speaker_and_sentence_disjoint"


def speaker_and_sentence_disjoint(
    dataset: Dataset,
    validation: float | list[int | str] = 0.15,
    test: float | list[int | str] = 0.2,
    test_sentences: float | list[str] = 0.25,
    seed: int = 0,
) -> Split:
    """Speakers as `speaker_independent` divides them; test keeps only the test sentences, train and validation only
    the others. Clips of other combinations stand in no part, and the split's table says how many.

    Args:
        test_sentences: sentences in full, or a share of them (at least one, drawn).

    Raises:
        UserError: as `speaker_independent`, and if the corpus has no two sentences or a listed one is unknown.
    """
    sentences = read_column(dataset, "sentence")
    known = sorted({sentence for sentence in sentences if sentence is not None})
    if len(known) < 2:
        raise UserError(f"protocol.name: {NAME} needs at least two sentences, the corpus tells {len(known)}")
    if isinstance(test_sentences, float):
        check_share("protocol.test_sentences", test_sentences)
        count = min(max(1, round(test_sentences * len(known))), len(known) - 1)
        rows = [row for row, sentence in enumerate(sentences) if sentence is not None]
        held_out = set(draw_groups(dataset, rows, "sentence", count, seed))
    else:
        test_sentences = [test_sentences] if isinstance(test_sentences, str) else test_sentences
        for sentence in test_sentences:
            if sentence not in known:
                raise UserError(
                    f"protocol.test_sentences: no sentence {sentence!r}; the corpus has {', '.join(known)}"
                )
        held_out = set(test_sentences)
    speakers = speaker_independent(dataset, None, validation, test, seed)
    wanted = {part: held_out if part == "test" else set(known) - held_out for part in speakers.rows}
    rows = {part: [row for row in own if sentences[row] in wanted[part]] for part, own in speakers.rows.items()}
    apart = speakers.apart["train/validation"]
    if apart == ("sentence",):  # one speaker is left: it is the sentences not tested that are to be divided
        left = {speaker for part in ("train", "validation") for speaker in speakers.speakers[part]}
        own = [row for row in rows_where(dataset, "speaker", left) if sentences[row] in wanted["train"]]
        rows["train"], rows["validation"], apart, _ = hold_out(dataset, own, validation, seed)
    return make_split(
        *(NAME, dataset, rows),
        test_apart=("speaker", "sentence"),
        validation_apart=apart,
        notes=[*speakers.notes, f"Test sentences: {'; '.join(sorted(held_out))}."],
    )
