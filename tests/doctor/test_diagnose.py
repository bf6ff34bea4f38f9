"""All checks of a recipe together."""

import pytest
from support.doctor import HEALTHY
from support.pages import ROOT

import ser_hf
from ser_hf.doctor import CHECKS, Fault
from ser_hf.utils.errors import UserError


def test_a_mistake_in_the_recipe_is_no_check(tmp_path):
    model = {"architecture": "crnn", "checkpoint": str(tmp_path / "missing")}
    with pytest.raises(UserError, match=r"^model\.checkpoint: "):
        ser_hf.diagnose(HEALTHY | {"model": model})


def test_the_page_describes_every_check_and_fault():
    page = (ROOT / "docs/when-it-does-not-learn.md").read_text(encoding="utf-8")
    for check in CHECKS:
        assert f"\n| {check.name} |" in page
    for fault in Fault:
        assert f"`{fault}`" in page


def test_every_check_has_a_name_of_its_own():
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names) == 11
    assert max(map(len, names)) <= 15
