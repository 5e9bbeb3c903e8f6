"""JupyterLab as its user sees it: page objects for its launcher, menus and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from playwright.async_api import expect

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

    from jupyter_relay.testing.servers import RunningServer

RUN_MS: Final = 60_000
"""How long a cell's output may take, the start of its kernel included."""


class Lab:
    """JupyterLab in one browser page."""

    def __init__(self, page: Page) -> None:
        """Use a page in which JupyterLab has been opened (see :func:`open_lab`)."""
        self.page = page

    @property
    def notebook_cards(self) -> Locator:
        """The kernels on a launcher by which a notebook is started."""
        return self.page.locator(".jp-LauncherCard[data-category='Notebook']:visible")

    async def kernel_logos(self) -> list[Locator]:
        """The pictures on the launcher's notebook cards."""
        await self.notebook_cards.first.wait_for()
        return await self.notebook_cards.locator("img").all()

    async def new_notebook(self, kernel: str = "Python 3 (ipykernel)") -> Notebook:
        """Click a kernel in a launcher, opening one if none is in front."""
        card = self.notebook_cards.filter(has_text=kernel)
        if not await card.count():
            await self.choose_from_menu("File", "launcher:create")
        await card.click()
        notebook = Notebook(self, self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)"))
        await notebook.cell(0).wait_for()
        await notebook.until_connecting(kernel)
        return notebook

    async def choose_from_menu(self, menu: str, command: str) -> None:
        """Click an entry, known by its command, of a menu of the menu bar."""
        bar = self.page.locator("#jp-MainMenu")
        await bar.locator(".lm-MenuBar-item").filter(has_text=menu).click()
        await self.page.locator(f".lm-Menu-item[data-command='{command}']:visible").first.click()

    async def accept_dialog(self) -> None:
        """Click the button the open dialog proposes, and see it go."""
        dialog = self.page.locator(".jp-Dialog")
        await dialog.locator(".jp-mod-accept").click()
        await dialog.wait_for(state="detached")


class Notebook:
    """The notebook in front."""

    def __init__(self, lab: Lab, panel: Locator) -> None:
        """Use the notebook inside a panel of the page."""
        self._lab = lab
        self.panel = panel

    def cell(self, index: int) -> Locator:
        """A code cell, counted from 0."""
        return self.panel.locator(".jp-CodeCell").nth(index)

    def output(self, index: int) -> Locator:
        """All that a cell has put out."""
        return self.cell(index).locator(".jp-Cell-outputArea")

    async def run(self, index: int, source: str) -> None:
        """Type `source` into a cell and run it with Shift+Enter. Does not wait for output."""
        keyboard = self.panel.page.keyboard
        await self.cell(index).locator(".cm-content").click()
        # Lines are put in whole: typed ones would be indented and completed by the editor.
        await keyboard.insert_text(source)
        await keyboard.press("Shift+Enter")

    async def run_and_read(self, index: int, source: str, expected: str) -> None:
        """Run a cell, and see its output become exactly `expected`."""
        await self.run(index, source)
        await expect(self.output(index)).to_have_text(expected, timeout=RUN_MS)

    async def interrupt(self) -> None:
        """Press the toolbar's stop button."""
        await self.panel.locator("[data-command='notebook:interrupt-kernel']").first.click()

    async def restart(self) -> None:
        """Restart the kernel from the menu, and wait until it is idle."""
        await self._lab.choose_from_menu("Kernel", "kernelmenu:restart")
        # The old kernel is idle as well, so its sign counts only once the server has answered.
        async with self.panel.page.expect_response("**/api/kernels/*/restart*"):
            await self._lab.accept_dialog()
        await self.until_idle()

    async def until_idle(self) -> None:
        """Wait until the notebook's kernel is idle."""
        await expect(self._sign).to_have_attribute("data-status", "idle", timeout=RUN_MS)

    async def until_connecting(self, kernel: str) -> None:
        """Wait until the page knows which kernel it has, though not until that kernel is there.

        JupyterLab forgets a cell that is run earlier, on a local kernel too. One that is run later
        waits for its kernel, as the first cell of many people does.
        """
        # In this order: next to the words "No Kernel" the sign shows an idle one.
        await expect(self.panel.locator(".jp-Toolbar-kernelName")).to_have_text(kernel)
        await expect(self._sign).not_to_have_attribute("data-status", "initializing")

    @property
    def _sign(self) -> Locator:
        return self.panel.locator(".jp-Notebook-ExecutionIndicator")


async def open_lab(page: Page, server: RunningServer) -> Lab:
    """Open JupyterLab with an empty workspace, and wait for its launcher."""
    await page.goto(f"{server.url}/lab?{urlencode({'token': server.token, 'reset': ''})}")
    await page.locator(".jp-Launcher").first.wait_for(timeout=RUN_MS)
    return Lab(page)


async def natural_size(image: Locator) -> tuple[int, int]:
    """Width and height in pixels of a picture's own data, once it is there."""
    await image.wait_for(timeout=RUN_MS)
    width, height = await image.evaluate(
        "async image => { await image.decode(); return [image.naturalWidth, image.naturalHeight] }"
    )
    return int(width), int(height)
