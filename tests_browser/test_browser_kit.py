"""The kit leaves nothing behind."""

from __future__ import annotations

from contextlib import nullcontext

import psutil
import pytest
from playwright.sync_api import Playwright

from browser_kit import STEP, open_browser


@pytest.mark.parametrize("fails", [False, True])
def test_a_browser_is_gone_when_its_block_ends(
    driver: Playwright, executable: str, *, fails: bool
) -> None:
    """With all the processes that it started, also when the block fails."""
    before = set(psutil.Process().children(recursive=True))
    started: set[psutil.Process] = set()
    with pytest.raises(ZeroDivisionError) if fails else nullcontext():
        with open_browser(driver, executable) as browser:
            browser.new_page().goto("data:text/html,<p>here")
            started = set(psutil.Process().children(recursive=True)) - before
            assert len(started) > 1
            if fails:
                _ = 1 / 0
    _, alive = psutil.wait_procs(started, timeout=STEP)
    assert alive == []
