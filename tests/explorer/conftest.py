"""A real browser, and windows of it on the explorer."""

import pytest

import chromium


@pytest.fixture(scope="module")
def browser():
    with chromium.started(chromium.needed()) as started:
        yield started


@pytest.fixture
def window(browser):
    from windows import Window

    opened: list[Window] = []

    def open_at(address: str) -> Window:
        opened.append(Window(browser, address))
        return opened[-1]

    yield open_at
    for each in opened:
        each.close()
