"""The whole corpus of malformed inputs in one process; `trust/bad_input.py` measures time and memory."""

from pathlib import Path

import numpy as np
import pytest

from bad_input import fault_of, in_process
from malformed import FAMILIES
from malformed.cases import Case


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__.removesuffix("_cases"))
@pytest.mark.timeout(120)
def test_every_malformed_input_is_refused_in_one_line_that_names_it(family, tmp_path, monkeypatch):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    cases = list(family(corpus, np.random.default_rng(0)))
    # What a hostile file would make, it would make here.
    monkeypatch.chdir(tmp_path)
    faults = {}
    for case in cases:
        message = in_process(case)
        fault = message.strip() if message.startswith("\n") else fault_of(message, case)
        if fault:
            faults[case.name] = fault
    assert not faults
    assert not list(tmp_path.rglob("hostile_*_ran"))


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("x.npy: damaged; copy it again", ""),
        ("y.npy: damaged; copy it again", "does not name"),
        ("x.npy: damaged\n; copy it again", "not one line"),
        ("x.npy: damaged \x1b[2J; copy it again", "not one line"),
        ("x.npy: damaged", "does not say what to do"),
    ],
)
def test_what_is_a_clear_message(message, fault):
    case = Case("NPY", "", Path("x.npy"), lambda: None)
    assert fault_of(message, case).startswith(fault) and bool(fault_of(message, case)) == bool(fault)


def test_an_input_that_is_taken_or_breaks_is_no_refusal():
    assert in_process(Case("NPY", "", Path("x.npy"), lambda: None)) == "\nwas taken"
    assert in_process(Case("NPY", "", Path("x.npy"), lambda: 1 // 0)).startswith("\nZeroDivisionError")
