"""What a user does in a notebook, in JupyterLab with its kernels on a Kernel Gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import expect

from .gateways import GatewayKind, lab_on
from .lab import RUN_MS, Lab, natural_size, open_lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Page

    from jupyter_relay.testing.servers import RunningServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[RunningServer]:
    """One JupyterLab for all these tests."""
    async with lab_on(GatewayKind.KERNEL_GATEWAY) as lab:
        yield lab


@pytest_asyncio.fixture(loop_scope="module")
async def lab(page: Page, server: RunningServer) -> Lab:
    """JupyterLab freshly opened, with its launcher in front."""
    return await open_lab(page, server)


async def test_launcher_shows_the_kernels_logos(lab: Lab, server: RunningServer) -> None:
    logos = await lab.kernel_logos()
    assert logos
    for logo in logos:
        address = await logo.get_attribute("src")
        assert address is not None
        assert address.startswith((server.url, "/kernelspecs/"))
        width, height = await natural_size(logo)
        assert width > 0
        assert height > 0


async def test_cell_prints_its_output(lab: Lab) -> None:
    notebook = await lab.new_notebook()
    await notebook.run_and_read(
        0, "for i in range(3): print('line', i)", "line 0\nline 1\nline 2\n"
    )


async def test_cell_draws_a_picture(lab: Lab) -> None:
    notebook = await lab.new_notebook()
    await notebook.run(
        0,
        "import matplotlib.pyplot as plt\n"
        "plt.figure(figsize=(3, 2))\n"
        "plt.plot([1, 4, 9])\n"
        "plt.show()",
    )
    width, height = await natural_size(notebook.output(0).locator("img"))
    assert width > height > 100


async def test_widget_shows_binary_data_from_the_kernel(lab: Lab) -> None:
    notebook = await lab.new_notebook()
    await notebook.run(
        0,
        "import io, ipywidgets, PIL.Image\n"
        "file = io.BytesIO()\n"
        "PIL.Image.new('RGB', (37, 23), 'red').save(file, 'PNG')\n"
        "ipywidgets.Image(value=file.getvalue())",
    )
    assert await natural_size(notebook.output(0).locator("img")) == (37, 23)
    await notebook.run_and_read(1, "print('still here')", "still here\n")


async def test_slider_moved_on_the_page_moves_in_the_kernel(lab: Lab) -> None:
    notebook = await lab.new_notebook()
    await notebook.run(
        0, "import ipywidgets\nslider = ipywidgets.IntSlider(value=42, max=50)\nslider"
    )
    handle = notebook.output(0).get_by_role("slider")
    await handle.press("ArrowRight")
    await expect(notebook.output(0).locator(".widget-readout")).to_have_text("43", timeout=RUN_MS)
    await notebook.run_and_read(1, "print(slider.value)", "43\n")
    await notebook.run(2, "slider.value = 7")
    await expect(notebook.output(0).locator(".widget-readout")).to_have_text("7", timeout=RUN_MS)


async def test_uploaded_files_bytes_reach_the_kernel(lab: Lab, tmp_path: Path) -> None:
    content = bytes(range(256)) * 40
    file = tmp_path / "binary.dat"
    file.write_bytes(content)
    notebook = await lab.new_notebook()
    await notebook.run(0, "import hashlib, ipywidgets\nupload = ipywidgets.FileUpload()\nupload")
    button = notebook.output(0).get_by_role("button", name="Upload")
    async with lab.page.expect_file_chooser() as chooser:
        await button.click()
    await (await chooser.value).set_files(file)
    await expect(button).to_have_text("Upload (1)", timeout=RUN_MS)
    await notebook.run_and_read(
        1,
        "data = bytes(upload.value[0].content)\nprint(len(data), data == bytes(range(256)) * 40)",
        f"{len(content)} True\n",
    )


async def test_restarted_kernel_is_new_and_runs_cells(lab: Lab) -> None:
    notebook = await lab.new_notebook()
    await notebook.run_and_read(0, "x = 1\nprint('x' in globals())", "True\n")
    await notebook.restart()
    await notebook.run_and_read(1, "print('x' in globals())", "False\n")


async def test_running_cell_can_be_interrupted(lab: Lab) -> None:
    notebook = await lab.new_notebook()
    await notebook.run(0, "import time\nprint('started')\ntime.sleep(600)")
    await expect(notebook.output(0)).to_have_text("started\n", timeout=RUN_MS)
    await notebook.interrupt()
    await expect(notebook.output(0)).to_contain_text("KeyboardInterrupt", timeout=RUN_MS)
    await notebook.until_idle()  # after an error a kernel drops requests until it is done with it
    await notebook.run_and_read(1, "print('and on')", "and on\n")
