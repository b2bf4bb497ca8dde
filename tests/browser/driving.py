"""A browser for tests and screenshots: Debian's Chromium, driven by selenium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

WIDTHS = {390: 844, 900: 800, 1600: 1000}
"""The heights of the windows, by their widths: a telephone, half a screen, a wide screen."""
PATIENCE_S = 30
"""How long to wait for something that must come; nothing waits as long as that unless it fails."""


def missing() -> str:
    """Why there is no browser to drive; "" if there is one."""
    try:
        import axe_core_python
        import selenium
    except ImportError as error:
        return f"{error.name} is not installed: pip install 'colonysim[dev]'"
    del axe_core_python, selenium
    if not _chromium():
        return "there is no chromium: apt-get install chromium"
    if shutil.which("chromedriver") is None:
        return "there is no chromedriver: apt-get install chromium-driver"
    return ""


def _chromium() -> str:
    return shutil.which("chromium") or shutil.which("google-chrome") or ""


class Browser:
    """One window of a browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def look_like(self, width: int, scheme: str = "light") -> None:
        """Give the window a width, and the colour scheme that the reader prefers."""
        metrics = {"width": width, "height": WIDTHS[width], "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, address: str) -> None:
        self.driver.get(address)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until a condition is true, and return what it gave. Raises TimeoutException if that takes too long."""
        from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
        from selenium.webdriver.support.wait import WebDriverWait

        gone = (NoSuchElementException, StaleElementReferenceException)
        return WebDriverWait(self.driver, PATIENCE_S, 0.05, gone).until(lambda _: condition(), what)

    def text(self, selector: str = "main") -> str:
        """The text that a reader sees in an element."""
        found: str = self.find(selector).text
        return found

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def sees(self, text: str, selector: str = "main") -> None:
        """Wait until a text is there."""
        self.until(lambda: text in self.text(selector), f"{text!r} in {selector}")

    def click(self, selector: str, text: str = "") -> None:
        """Click on the first element that a selector finds, and that has a text if one is given."""

        def wanted() -> Any:
            found = self.driver.find_elements("css selector", selector)
            return next((one for one in found if text in one.text and one.is_displayed()), None)

        element = self.until(wanted, f"{selector} with {text!r}")
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def type(self, selector: str, text: str) -> None:
        """Type into a field, in place of what is in it."""
        from selenium.webdriver.common.keys import Keys

        field = self.until(lambda: self.find(selector), selector)
        field.send_keys(Keys.CONTROL + "a")
        field.send_keys(Keys.BACKSPACE, text)

    def complaints(self) -> list[str]:
        """What the browser has written into its console since the last look: errors and warnings."""
        return [f"{entry['level']}: {entry['message']}" for entry in self.driver.get_log("browser")]

    def violations(self) -> list[str]:
        """What axe-core finds wrong with the page as it is now."""
        from importlib.resources import files

        self.run((files("axe_core_python") / "axe.min.js").read_text("utf-8"))
        found = self.driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        return [
            f"{one['id']} ({one['help']}): " + "; ".join(node["html"][:200] for node in one["nodes"][:3])
            for one in found["violations"]
        ]

    def screenshot(self) -> bytes:
        """The window as a PNG."""
        image: bytes = self.driver.get_screenshot_as_png()
        return image


@contextmanager
def browser() -> Iterator[Browser]:
    """Within the context, drive a new browser without a window on the screen."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = _chromium()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver") or ""))
    try:
        driver.set_script_timeout(PATIENCE_S)
        yield Browser(driver)
    finally:
        driver.quit()
