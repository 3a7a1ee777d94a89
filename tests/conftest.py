"""What both sides' runs share: the order of files, and the choice between those with long tests and the others."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run take the files with long tests only, or the others."""
    parser.addoption("--long", choices=["only", "without"], help="the files that have long tests, or the others")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put files with long tests first, or choose.

    Files go to the processes of a run one by one (``--dist loadfile``); a long one at the end would leave the other
    process idle.
    """
    long = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("e2e")}
    items.sort(key=lambda item: item.path not in long)
    if (choice := config.getoption("--long")) is not None:
        dropped = [item for item in items if (item.path in long) != (choice == "only")]
        items[:] = [item for item in items if (item.path in long) == (choice == "only")]
        config.hook.pytest_deselected(items=dropped)
