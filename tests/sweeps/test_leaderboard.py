"""The leaderboard of a sweep and its best recipe."""

from stubs import Runs, grid, table


def test_the_best_recipe_is_written_after_each_trial(swept):
    written = []

    def before(recipe, epoch):
        written.append((swept.folder / "best.yaml").is_file())

    swept(grid(5e-3, 1e-3), Runs(epochs=1, before=before))
    assert written == [False, True, True]
    head = (swept.folder / "best.yaml").read_text().splitlines()[:2]
    assert head == [
        f"# ser-hf train {swept.folder / 'best.yaml'}",
        "# trial 1 of 2, uar 0.8700 on validation: training.learning_rate=0.001",
    ]
    assert not list(swept.folder.glob("*.partial"))


def test_a_table_has_one_column_a_key(swept):
    kinds = {"plain": {"model.dropout": 0.2}, "smooth": {"space": {"training.loss.label_smoothing": [0.1, 0.2]}}}
    swept({"search": "grid", "trials": None, "space": {"kind": kinds}}, Runs(epochs=1), test=False)
    keys = ("model.dropout", "training.loss.label_smoothing")
    rows = [tuple(row[key] for key in keys) for _, row in sorted(table(swept.folder).items())]
    assert rows == [("0.2", ""), ("", "0.1"), ("", "0.2")]
