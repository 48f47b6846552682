"""A notebook in JupyterLab, served here and shown by headless Chromium, as a user meets it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

NOTEBOOK = "explorer.ipynb"
SECONDS = 120
"""The longest that anything is waited for."""
RUN = """const done = arguments[0], app = window.jupyterapp;
app.restored.then(() => app.shell.currentWidget.context.sessionContext.ready)
  .then(() => app.commands.execute('notebook:run-all-cells'))
  .then(() => done(''), error => done(String(error)));"""
"""Before the kernel is there, JupyterLab would ask which one is meant."""
QUIET = {"fetchNews": "false", "checkForUpdates": False}
"""Nothing is fetched, and no question about it lies over the page."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of `NOTEBOOK` in a JupyterLab that keeps all that it writes in `folder`."""
    chosen = folder / ".settings" / "@jupyterlab" / "apputils-extension"
    chosen.mkdir(parents=True)
    (chosen / "notification.jupyterlab-settings").write_text(json.dumps(QUIET))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex()
    dirs = {f"JUPYTER_{what}_DIR": f"{folder}/.{what}" for what in ("CONFIG", "DATA", "RUNTIME")}
    words = ["--no-browser", "--expose-app-in-browser", "--allow-root", f"--port={port}",
             "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}",
             f"--LabApp.workspaces_dir={folder / '.spaces'}",
             f"--LabApp.user_settings_dir={folder / '.settings'}"]  # fmt: skip
    with (folder / ".log").open("wb") as log:
        lab = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *words], stdout=log, stderr=log, cwd=folder,
            env={**os.environ, **dirs, "JUPYTER_TOKEN": token},
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _answers(f"{address}/api"), f"JupyterLab, see {folder}/.log")
        yield f"{address}/doc/tree/{NOTEBOOK}?token={token}"
    finally:
        lab.terminate()  # which ends its kernels
        lab.wait(30)


@contextmanager
def browser(*, width: int, height: int) -> Iterator[Any]:
    """Selenium's driver of headless Chromium."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    words = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},{height}"]
    for word in words:
        options.add_argument(word)
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))
    )
    driver.set_script_timeout(SECONDS)
    try:
        yield driver
    finally:
        driver.quit()


def show(driver: Any, address: str, folder: Path, cells: Sequence[str]) -> None:
    """Open a notebook of these cells alone in the window, run it, and wait for its explorer."""
    code = [nbformat.v4.new_code_cell(source) for source in cells]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = nbformat.v4.new_notebook(cells=code, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / NOTEBOOK)
    driver.get(address)
    ready = "return Boolean(window.jupyterapp && document.querySelector('.jp-Notebook .jp-Cell'))"
    wait_for(lambda: driver.execute_script(ready), "the notebook")
    if failed := driver.execute_async_script(RUN):
        raise RuntimeError(failed)
    shown = "return document.querySelectorAll('.rp-explore .rp-head b').length"
    wait_for(lambda: driver.execute_script(shown), "the explorer")


def headline(driver: Any) -> str:
    """What the explorer says at its top, where each answer takes the place of the last."""
    text = driver.execute_script("return document.querySelector('.rp-explore .rp-head').innerText")
    return str(text)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


def wait_for(there: Any, what: str) -> None:
    end = time.monotonic() + SECONDS
    while not there():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come within {SECONDS} seconds")
        time.sleep(0.1)
