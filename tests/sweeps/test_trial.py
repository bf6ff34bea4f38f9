"""Single trials: what is judged, pruned, failed and told, and what the leaderboard says of it."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from stubs import Runs, uar_of

from ser_hf.errors import UserError
from ser_hf.run_folder import RunFolder
from ser_hf.sweeps.folder import SweepFolder
from ser_hf.sweeps.leaderboard import _cell, duration
from ser_hf.sweeps.space import read_space
from ser_hf.sweeps.storage import Journal
from ser_hf.sweeps.study import Study
from ser_hf.sweeps.trial import _kept_loss

RATES = {"search": "grid", "trials": None, "space": {"training.learning_rate": [1e-3, 1.2e-3, 1.4e-3, 1.6e-3, 5e-3]}}


def table(folder):
    with (folder / "leaderboard.csv").open(encoding="utf-8") as file:
        return {int(row["trial"]): row for row in csv.DictReader(file)}


def study_name(folder):
    trials, test = optuna.get_all_study_names(JournalStorage(Journal(folder.journal)))
    assert test == f"{trials}-test"
    return trials


def fail_at(rate, error):
    def before(recipe, epoch):
        if recipe.training.arguments["learning_rate"] == rate:
            raise error

    return before


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            UserError("training.learning_rate: the loss is nan\nat step 3"),
            "training.learning_rate: the loss is nan at",
        ),
        (RuntimeError("CUDA out of memory"), "RuntimeError: CUDA out of memory"),
        (ValueError("x" * 400), f"ValueError: {'x' * 288}..."),
    ],
)
def test_a_trial_that_fails_is_told_and_the_sweep_goes_on(error, told, swept):
    result, run, lines = swept(RATES, Runs(before=fail_at(1.2e-3, error)), test=False)
    row = table(swept.folder)[1]
    assert row["state"] == "failed"
    assert row["message"].startswith(told)
    assert len(run.recipes) == 5
    assert any(line.startswith("trial 1 failed, best 0.8700 (trial 0): ") and told[:30] in line for line in lines)
    traceback = swept.folder / "trials" / "1" / "logs" / "failure.txt"
    assert traceback.is_file() != isinstance(error, UserError)
    # It is tried again only where it was none of the settings' fault.
    _, again, _ = swept(RATES, test=False)
    assert len(again.recipes) == (told[:3] == "Val")


def test_three_first_trials_that_fail_alike_end_the_sweep_with_their_error(swept):
    def fail(recipe, epoch):
        raise UserError(f"corpus.root: {recipe.output_dir} at {recipe.training.arguments['learning_rate']}")

    with pytest.raises(UserError, match=r"trials fail alike, one after the other: corpus\.root: "):
        swept(RATES, Runs(before=fail))
    assert len(table(swept.folder)) == 3
    _, run, _ = swept(RATES, test=False)  # mended, it goes on, and none is lost
    assert len({recipe.training.arguments["learning_rate"] for recipe in run.recipes}) == 5
    assert [row["state"] for row in table(swept.folder).values()] == ["complete"] * 5


def test_three_first_trials_that_fail_each_in_its_way_do_not(swept):
    run = Runs()

    def fail(recipe, epoch):
        raise UserError("once and again"[: len(run.recipes)])

    run.before = fail
    with pytest.raises(UserError, match="no trial came to its end; .*leaderboard.html says why"):
        swept(RATES, run)
    assert len(table(swept.folder)) == 5


def test_a_trial_that_falls_behind_is_pruned_and_keeps_its_best_so_far(swept):
    pruner = {"kind": "median", "startup_trials": 2, "warmup_epochs": 1}
    result, run, lines = swept({**RATES, "pruner": pruner}, Runs(epochs=6), test=False)
    rows = table(swept.folder)
    assert [rows[number]["state"] for number in range(5)] == ["complete", "complete", "pruned", "pruned", "pruned"]
    assert rows[4]["epochs"] == "2"  # one epoch is safe, and after the second it is judged
    assert float(rows[4]["judged_by_uar"]) == pytest.approx(uar_of(run.recipes[4]) * 2 / 6)
    assert rows[4]["rank"] == ""
    assert not list((swept.folder / "trials" / "4").glob("model"))
    assert not list((swept.folder / "trials" / "4").glob("checkpoints"))


@pytest.mark.parametrize("kind", ["successive_halving", "hyperband"])
def test_halving_ends_most_trials_early_and_the_best_never(kind, swept):
    rates = [5e-3, 4e-3, 3e-3, 1e-3, 4.5e-3, 3.5e-3, 2.5e-3, 4.2e-3, 2.2e-3, 4.8e-3, 3.2e-3]
    space = {**RATES, "space": {"training.learning_rate": rates}, "pruner": {"kind": kind}}
    result, run, _ = swept(space, Runs(epochs=9), changes=["training.num_train_epochs=9"], test=False)
    states = [row["state"] for row in table(swept.folder).values()]
    assert result["winner"]["number"] == 3
    assert states.count("pruned") >= (1 if kind == "hyperband" else 4)  # by chance, trials are in different brackets
    assert all(int(row["epochs"]) < 9 for row in table(swept.folder).values() if row["state"] == "pruned")


def test_what_a_trial_held_on_a_gpu_is_given_back(swept, monkeypatch):
    import torch

    freed = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append(1))
    swept({**RATES, "trials": 2}, test=False)
    assert len(freed) == 2


def test_loss_is_better_the_lower_and_taken_at_the_kept_checkpoint(swept):
    result, _, _ = swept({**RATES, "metric": "loss"}, test=False)
    assert result["winner"]["settings"] == {"training.learning_rate": 1e-3}
    assert result["winner"]["value"] == pytest.approx(0.13)
    result, _, lines = swept({**RATES, "metric": "loss"})
    assert "  UAR 0.7700 on the test speakers, whom no other trial has met" in lines


def test_loss_over_folds_is_their_mean_and_missing_where_one_has_none(tmp_path):
    def write(name, history):
        (tmp_path / name / "report").mkdir(parents=True)
        (tmp_path / name / "report" / "report.json").write_text(json.dumps({"history": history}))

    write("fold-1", [{"validation": {"loss": 9.0}}, {"kept": True, "validation": {"loss": 1.0}}])
    write("fold-2", [{"kept": True, "validation": {"loss": 2.0}}])
    assert _kept_loss(RunFolder(tmp_path)) == 1.5
    write("fold-3", [{"kept": True, "validation": {"uar": 0.3}}])
    assert _kept_loss(RunFolder(tmp_path)) is None


def test_a_metric_that_is_not_measured_or_no_number_fails_the_trial(swept, tmp_path):
    class Without(Runs):
        def __call__(self, *arguments, **settings):
            report = super().__call__(*arguments, **settings)
            report["parts"]["validation"] = {"uar": 0.5, "wa": float("nan")}
            return report

    with pytest.raises(
        UserError, match="trials fail alike, one after the other: metric: macro_f1 is not measured by this"
    ):
        swept({**RATES, "metric": "macro_f1"}, Without())
    with pytest.raises(UserError, match="trials fail alike, one after the other: wa on validation is nan"):
        swept({**RATES, "metric": "wa"}, Without(), output=tmp_path / "other")


def test_epochs_of_other_folds_and_parts_of_an_epoch_are_not_compared(swept):
    class Folds(Runs):
        def __call__(self, source, overrides=(), *, resume=False, overwrite=False, watch=None):
            def fold(place):
                def told(_, epoch, metrics):
                    watch([place], epoch / 2, metrics)

                return told

            super().__call__(source, overrides, resume=resume, watch=fold("fold-1"))
            (Path(self.recipes[-1].output_dir) / "report" / "report.json").unlink()
            return super().__call__(source, overrides, resume=resume, watch=fold("fold-2"))

    folder = SweepFolder(swept.folder)
    swept({**RATES, "trials": 1}, Folds(epochs=4), test=False)
    search = read_space({**RATES, "trials": 1})
    home = json.loads(folder.identity.read_text())["home"]
    name = study_name(folder)
    (trial,) = Study(search, folder, home, name, None, 1).study.trials
    assert sorted(trial.intermediate_values) == [1, 2]  # of fold 1; epochs 0.5 and 1.5 are not whole ones
    assert trial.user_attrs["place"] == ["fold-1"]
    assert trial.user_attrs["progress"] == "fold-2 2.000"


def test_trials_on_another_split_or_with_other_labels_are_not_ranked(swept):
    run = Runs()

    def other(recipe, epoch):
        run.report = {"sha256": "1" * 64} if recipe.training.arguments["learning_rate"] == 1.2e-3 else {}

    run.before = other
    swept(RATES, run, test=False)
    row = table(swept.folder)[1]
    assert row["state"] == "failed"
    assert row["message"].startswith("other labels or another split than trial 0: their figures cannot be compared")


def test_a_trial_that_kills_its_process_again_and_again_fails(swept):
    class Killed(BaseException):
        pass

    # What a SIGKILL leaves: nobody notes that it was an interruption.
    def die(recipe, epoch):
        if recipe.output_dir.endswith("/1") and epoch == 2:
            raise Killed

    attempts = 0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Study, "interrupted", lambda *_: None)
        while attempts < 9:
            attempts += 1
            try:
                swept(RATES, Runs(before=die), test=False)
                break
            except Killed:
                pass
    assert attempts == 4  # begun, gone on with twice, given up
    row = table(swept.folder)[1]
    assert row["state"] == "failed"
    assert "killed again and again at the same place" in row["message"]
    assert str(Path("trials") / "1" / "logs" / "run.log") in row["message"]


def test_a_trial_that_comes_further_each_time_is_never_given_up(swept):
    class Killed(BaseException):
        pass

    dies = iter([2, 2, 3, 3, 4, 4])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Study, "interrupted", lambda *_: None)
        for at in dies:

            def die(recipe, epoch, at=at):
                if epoch == at:
                    raise Killed

            with pytest.raises(Killed):
                swept({**RATES, "trials": 1}, Runs(epochs=5, before=die), test=False)
    result, _, _ = swept({**RATES, "trials": 1}, Runs(epochs=5), test=False)
    assert result["winner"]["number"] == 0


class Text(HTMLParser):
    """The tags that are open, and the text without them."""

    VOID = ("meta", "br", "line", "circle", "polyline")

    def __init__(self):
        super().__init__()
        self.stack, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text += f"{data} "


def read(page):
    parser = Text()
    parser.feed(page)
    assert parser.stack == []
    return " ".join(parser.text.split())


def test_the_page_tells_of_every_trial_and_stands_alone(swept):
    def before(recipe, epoch):
        if recipe.training.arguments["learning_rate"] == 1.4e-3:
            raise UserError("<script>alert(1)</script> & so on")

    swept({**RATES, "pruner": {"kind": "median", "startup_trials": 2}}, Runs(before=before))
    page = (swept.folder / "leaderboard.html").read_text(encoding="utf-8")
    text = read(page)
    assert "5 of 5 trials by grid, judged by UAR on validation" in text
    assert "Validation chose among 2 complete trials and 2 that were pruned" in text
    assert "The best: trial 0" in text
    assert "UAR 0.870 0.870 0.770 0.720 to 0.820" in text
    assert "<script>" not in page
    assert "<script>alert(1)</script> & so on" in text
    assert page.count("<circle") == 4
    assert not re.search(r"(src|href)=|url\(|@import", page)
    assert "prefers-color-scheme: dark" in page
    assert not list(swept.folder.glob("*.partial"))


def test_the_page_says_what_mattered_once_there_are_ten_trials(swept):
    space = {
        "search": "random",
        "trials": 12,
        "space": {
            "training.learning_rate": {"low": 1e-3, "high": 5e-3},
            "training.loss.label_smoothing": {"low": 0.0, "high": 0.2},
        },
    }
    swept(space, trials=9, test=False)
    assert "What mattered" not in read((swept.folder / "leaderboard.html").read_text())
    swept(space, test=False)
    text = read((swept.folder / "leaderboard.html").read_text())
    shares = dict(re.findall(r"(training\.\S+) (\d+) %", text[text.index("What mattered") :]))
    assert int(shares["training.learning_rate"]) > 80 > 20 > int(shares["training.loss.label_smoothing"])


def test_a_table_names_each_key_once_and_leaves_out_what_a_trial_did_not_set(swept):
    space = {
        "search": "grid",
        "trials": None,
        "space": {
            "kind": {
                "plain": {},
                "smooth": {"space": {"training.loss.label_smoothing": [0.1, 0.2]}},
            }
        },
    }
    swept(space, test=False)
    rows = table(swept.folder)
    assert [(row["kind"], row["training.loss.label_smoothing"]) for _, row in sorted(rows.items())] == [
        ("plain", ""),
        ("smooth", "0.1"),
        ("smooth", "0.2"),
    ]


def test_no_cell_of_the_table_is_a_formula(swept):
    message = '=HYPERLINK("http://x","y"), and so on'
    swept({**RATES, "trials": 2}, Runs(before=fail_at(1.2e-3, UserError(message))), test=False)
    assert table(swept.folder)[1]["message"] == f"'{message}"
    assert (_cell("=1"), _cell("-x"), _cell(-0.5), _cell("plain")) == ("'=1", "'-x", "-0.5", "plain")


@pytest.mark.parametrize(
    ("seconds", "told"), [(None, "–"), (4.4, "4 s"), (99.0, "99 s"), (240.0, "4 min"), (9000.0, "2.5 h")]
)
def test_durations_are_told_as_people_say_them(seconds, told):
    assert duration(seconds) == told
