"""The demo in WebKitGTK, as far as selenium and its WebRTC go."""

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.lanes.runtimes import webkit_gtk
from tools import browsers
from tools.serve import Server

pytestmark = pytest.mark.browser

SECONDS = 240
"""For what may take a while on a slow and busy machine."""


class Demo:
    """The demo in the window that is open now."""

    def __init__(self, driver: WebDriver) -> None:
        self.driver = driver

    def part(self, name: str) -> WebElement:
        """A part of the only peer."""
        return self.driver.find_element(By.CSS_SELECTOR, f'[data-part="{name}"]')

    def text(self, part: str) -> str:
        """What a part says, seen or not."""
        text = self.part(part).get_property("textContent")
        assert isinstance(text, str)
        return text

    def until(self, holds: Callable[[], Any], what: str) -> None:
        """Waits until it holds."""
        try:
            WebDriverWait(self.driver, SECONDS).until(lambda _: holds())
        except TimeoutException:
            pytest.fail(f"{what}; the page says: {self.driver.find_element(By.TAG_NAME, 'body').text}")

    def until_says(self, part: str, words: str) -> None:
        """Waits until the text of a part has `words` in it."""
        self.until(lambda: words in self.text(part), f"{part} never said {words!r}")

    def until_usable(self) -> None:
        """Waits for the mailbox; Python may still be loading."""
        self.until(lambda: self.part("message").is_enabled(), "the mailbox was never open")

    def send(self, text: str) -> None:
        """Types a message and sends it."""
        message = self.part("message")
        message.send_keys(text)
        # what it says of the message before must not be taken for an answer
        self.driver.execute_script("arguments[0].textContent = ''", self.part("notice"))
        self.click("send")
        self.until_says("notice", "Your message is stored.")

    def click(self, part: str) -> None:
        """Presses a button, wherever the page is scrolled to."""
        self.driver.execute_script("arguments[0].click()", self.part(part))


@pytest.fixture
def demo_url() -> Iterator[str]:
    """A server of the demo."""
    with Server(0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"{server.url}/?peers=1"
        server.shutdown()
        thread.join()


@pytest.fixture
def demo(demo_url: str) -> Iterator[Demo]:
    """The demo, open and usable."""
    executable = browsers.webkit_driver()
    assert executable is not None or sys.platform != "linux", "there is no WebKitGTK here"
    if executable is None:
        pytest.skip("WebKitGTK is there on Linux only")
    with webkit_gtk(executable) as driver:
        driver.get(demo_url)
        demo = Demo(driver)
        demo.until_usable()
        yield demo


def test_a_message_outlives_the_worker_that_had_it_and_the_page(demo: Demo) -> None:
    demo.send("hello from WebKit")
    demo.until_says("balance", "Stored 1 = 1 done")
    demo.send("hang! until the worker is killed")
    demo.until_says("inflight", "1")
    demo.click("kill")
    demo.until_says("balance", "Stored 2 = 2 done + 0 waiting + 0 dead letters. Nothing is lost.")
    demo.until_says("audit", "2 done, none of them twice. Messages were handed out again once")

    demo.click("pause")
    demo.until_says("state", "Paused")
    demo.send("after the reload")
    demo.driver.refresh()
    demo.until_usable()
    demo.until_says("balance", "Stored 3 = 2 done + 1 waiting")
    demo.click("pause")
    demo.until_says("balance", "Stored 3 = 3 done + 0 waiting + 0 dead letters. Nothing is lost.")
    assert "hello from WebKit" not in demo.text("log"), "the log is of this page only"
    demo.until_says("log", "after the reload")


def test_a_second_tab_is_a_peer_of_its_own(demo: Demo, demo_url: str) -> None:
    demo.click("pause")
    demo.driver.switch_to.new_window("tab")
    demo.driver.get(demo_url)
    demo.until_usable()
    assert demo.text("title") == "Peer 2"
    if not demo.driver.execute_script("return 'RTCPeerConnection' in globalThis"):
        assert "This browser has no WebRTC" in demo.text("others")
        return
    demo.until_says("others", "peer 1")
    demo.driver.execute_script("arguments[0].selectedIndex = 1", demo.part("to"))
    demo.send("over there")
    demo.until_says("others", "sent 1, still in the outbox 0, answered 0")
