"""The page on using the package from Python, run block by block."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"


@pytest.mark.slow
@pytest.mark.usefixtures("warm_workers")
def test_every_block_runs_in_the_order_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S
    ):
        exec(compile(block, str(PAGE), "exec"), names)

    assert {path.name for path in tmp_path.iterdir()} >= {"cat.png", "mine.csv", "all.html"}
    assert len(names["frame"]) == 4
    assert set(names["frame"]["status"]) == {"ok"}
