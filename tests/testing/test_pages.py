"""The pages about the testing kit, run as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from user_kit import user_pytest

DOCS = Path(__file__).parent.parent.parent / "docs"


def blocks(page: str) -> list[str]:
    """Return a page's Python."""
    return re.findall(
        r"^```python\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


async def test_the_tutorial_finds_the_leak_and_then_finds_it_mended(tmp_path: Path) -> None:
    leaky, test, mended, _ = blocks("testing-tutorial.md")
    (tmp_path / "words.py").write_text(leaky)
    said = await user_pytest(tmp_path, test)
    assert said.status == 1, said.text
    assert re.search(
        r"cancelled at step \d+, .*words.py:\d+ in count_words: the process", said.text
    )
    (tmp_path / "words.py").write_text(mended)
    said = await user_pytest(tmp_path, test)
    assert "1 passed" in said.text, said.text


@pytest.mark.parametrize("number", range(3))
async def test_what_the_page_on_the_kit_shows_passes(tmp_path: Path, number: int) -> None:
    assert len(blocks("testing.md")) == 3
    said = await user_pytest(tmp_path, blocks("testing.md")[number])
    assert "1 passed" in said.text, said.text
