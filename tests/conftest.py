"""What both sides' runs share: the order of files."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with long tests first.

    Files go to the processes of a run one by one (``--dist loadfile``); a long one at the end would leave the other
    process idle.
    """
    long = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("e2e")}
    items.sort(key=lambda item: item.path not in long)
