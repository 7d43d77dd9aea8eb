"""A headless Chromium, driven over chromedriver's own HTTP interface (W3C WebDriver)."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1280,1000",
)  # fmt: skip


class Browser:
    """One browser window; `profile` is an empty folder."""

    def __init__(self, profile: Path, port: int) -> None:
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._base = f"http://127.0.0.1:{port}"
        wait_for(lambda: self._answers())
        options = {"args": [*ARGUMENTS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._session = ""
        session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{session['sessionId']}"

    def _answers(self) -> bool:
        try:
            return bool(self._call("GET", "/status")["ready"])
        except OSError:
            return False

    def _call(self, method: str, path: str, body: dict | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(self._base + path, data, method=method), timeout=60) as response:
            return json.load(response)["value"]

    def open(self, address: str) -> None:
        """Loads the page anew and forgets complaints about the last one."""
        self._call("POST", f"{self._session}/url", {"url": "about:blank"})
        self.complaints()
        self._call("POST", f"{self._session}/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        return self._call("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def wait_for_text(self, selector: str, text: str) -> None:
        wait_for(lambda: text in self.text(selector), lambda: f"{text!r} in {selector}: {self.text('body')!r}")

    def click(self, text: str) -> None:
        script = "[...document.querySelectorAll('button')].find((one) => one.textContent === arguments[0]).click()"
        self.run(script, text)

    def draw(self, selector: str, points: list[tuple[float, float]]) -> None:
        """Presses the mouse on the first point, goes along the others and lets go; points are shares of the element."""
        script = "const area = document.querySelector(arguments[0]).getBoundingClientRect(); return area.toJSON()"
        area = self.run(script, selector)
        places = [(round(area["x"] + x * area["width"]), round(area["y"] + y * area["height"])) for x, y in points]
        moves = [{"type": "pointerMove", "duration": 10, "x": x, "y": y} for x, y in places]
        actions = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        pen = {"type": "pointer", "id": "mouse", "actions": actions}
        self._call("POST", f"{self._session}/actions", {"actions": [pen]})

    def complaints(self) -> list[str]:
        """What the browser logged since the last call: refused scripts and styles, exceptions, failed requests."""
        return [entry["message"] for entry in self._call("POST", f"{self._session}/se/log", {"type": "browser"})]

    def close(self) -> None:
        try:
            self._call("DELETE", self._session)
        finally:
            self._driver.terminate()
            self._driver.wait(timeout=20)


def wait_for(condition: Callable[[], bool], explain: Callable[[], str] = lambda: "", timeout_seconds: int = 20) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"never saw {explain()}"
        time.sleep(0.05)
