"""The packages: those that are found, and two folders at the top of the repository."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["ser_hf*"]), "ser_hf.hub_cards", "ser_hf.recipes"],
    # The card templates and the recipes are parts of the installed package.
    package_dir={"ser_hf.hub_cards": "hub_cards", "ser_hf.recipes": "recipes"},
)
