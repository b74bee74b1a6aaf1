"""Importing the doors loads nothing heavy: only compiling and running do."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["core.rulebook", "core.scoring", "sync.engine"])
def test_doors_are_light(module: str) -> None:
    code = f"import {module}, sys; print([m for m in ('ibis', 'duckdb', 'pyarrow', 'numpy', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
