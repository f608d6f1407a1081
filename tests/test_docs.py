"""What the pages under docs/ say in Python is true."""

import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[1] / "docs").glob("*.md"))
ONE_EXAMPLE = ("unavailable-inputs",)  # from its first block to its last
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_python_block_of_a_page_runs_by_itself(page):
    namespace = {"__name__": page.stem}
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        # Empty lines in front, so that a traceback names the line of the page.
        above = "\n" * text.count("\n", 0, block.start(1))
        exec(compile(above + block[1], str(page), "exec"), namespace)
        if page.stem not in ONE_EXAMPLE:
            namespace = {"__name__": page.stem}
