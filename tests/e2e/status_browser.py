"""A real browser that looks at the status page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, Locator, Page

PATIENCE_MS = 60_000.0


@dataclass
class Tab:
    """An open status page, and what went wrong in it."""

    page: Page
    troubles: list[str] = field(default_factory=list)
    """Defects of the scripts and violations of the Content-Security-Policy."""

    def room(self, name: str) -> Locator:
        """The card of a room."""
        heading = self.page.get_by_role("heading", name=name, exact=True)
        return self.page.locator(".room", has=heading)

    def has_text(self, selector: str, text: str) -> None:
        """Wait until an element has a text in it."""
        self.page.locator(selector).filter(has_text=text).first.wait_for()


@contextmanager
def open_tab(browser: Browser, url: str, **options: Any) -> Iterator[Tab]:
    """The status page in a tab of its own."""
    with browser.new_context(**options) as context:
        context.set_default_timeout(PATIENCE_MS)
        tab = Tab(context.new_page())

        def note(text: str) -> None:
            if "Content Security Policy" in text:
                tab.troubles.append(text)

        tab.page.on("console", lambda message: note(message.text))
        tab.page.on("pageerror", lambda error: tab.troubles.append(str(error)))
        tab.page.goto(url)
        yield tab
