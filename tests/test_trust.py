"""No call into a library that can run code of a folder lacks its switch against this code."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ser_hf"
HUB_CARDS = PACKAGE.parent / "hub_cards"
LOADERS = {"from_pretrained", "from_config", "pipeline"}
# Calls that load no code: the method of the class itself, which its subclass calls, and a class of
# ser_hf or of transformers that is named in the program and not in a file.
NO_CODE = {
    ("models/modeling_mfcc.py", "super().from_pretrained"),
    ("space_model.py", "self.pipeline"),  # a loaded pipeline predicts
}


def calls_of(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node


def loading_calls():
    for path in (*sorted(PACKAGE.rglob("*.py")), *sorted(HUB_CARDS.glob("*.py"))):
        name = path.name if path.parent == HUB_CARDS else str(path.relative_to(PACKAGE))
        for call in calls_of(path):
            function = ast.unparse(call.func)
            if function.rpartition(".")[2] in LOADERS and (name, function) not in NO_CODE:
                yield pytest.param(call, id=f"{name}:{call.lineno} {function}")


@pytest.mark.parametrize("call", list(loading_calls()))
def test_a_call_that_could_run_code_of_a_folder_states_whether_it_may(call):
    """Without `trust_remote_code` transformers asks on standard input."""
    given = {keyword.arg for keyword in call.keywords}
    spread = [ast.unparse(word.value) for word in call.keywords if word.arg is None]
    assert "trust_remote_code" in given or "options" in spread


def test_pickles_are_opened_nowhere():
    """Weights of a listed hash are tensors only; arrays and tables have no objects."""
    for path in PACKAGE.rglob("*.py"):
        for call in calls_of(path):
            function = ast.unparse(call.func)
            options = {word.arg: ast.unparse(word.value) for word in call.keywords}
            # A run's own processes send one another pickles through pipes.
            if path.parent.name != "executor" and function != "pickle.dumps":
                assert not function.startswith(("pickle.", "joblib.", "pd.read_pickle"))
            if function == "torch.load":
                assert options["weights_only"] == "True"
            if function == "np.load":
                assert options.get("allow_pickle", "False") == "False"
