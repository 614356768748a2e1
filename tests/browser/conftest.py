"""The tests of a file share a server, and so the folders that it reads and writes."""

from __future__ import annotations

import pytest
from own_folders import set_own_folders

pytest.register_assert_rewrite("visit")


@pytest.fixture(scope="module", autouse=True)
def _own_folders(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        set_own_folders(tmp_path_factory.mktemp("home"), patch)
        yield
