"""From the written pages and the source to a folder of HTML that needs no network.

Each page's first Python block is run, here and now, and the figure that it ends with stands below
it; so no page shows what the code beside it does not give.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any
from uuid import uuid4

import resnet_probe
from resnet_probe.errors import ProbeError
from resnet_probe.guide.refusals import KINDS, kind_of, refusals
from resnet_probe.runs.catalogue import ROWS

QUESTIONS, REFUSALS, REFERENCE = "questions", "refusals", "reference"
PARTS = {QUESTIONS, REFUSALS, REFERENCE, "index.html", "llms.txt"}
"""What a site consists of; nothing else is ever replaced."""
FIRST = "# resnet_probe"
ABOUT = (
    "Opens up trained residual networks and measures how they work: what deleting a block costs, "
    "which path lengths carry the gradient, how large the residuals are; with intervals."
)
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
LINK = re.compile(r'href="\.\./(question|refusal)_pages/(?:\d+_)?(\w+)\.md"')
"""From one page to another, as it is written, so that it leads somewhere in the source as well."""


@dataclass(frozen=True)
class Page:
    """A written page: where it goes, its title, and its text in Markdown."""

    part: str
    name: str
    text: str

    @property
    def title(self) -> str:
        return self.text.partition("\n")[0].lstrip("# ").strip()

    @property
    def about(self) -> str:
        """Its first paragraph, as plain text."""
        return " ".join(self.text.split("\n\n")[1].replace("*", "").split())

    @property
    def path(self) -> str:
        return f"{self.part}/{self.name}.html"


def build(folder: Path, *, reference: bool = True) -> int:
    """Write the site to `folder`, whole or not at all; how many pages were written.

    `reference` is that of the Python interface.  Raises `ProbeError` where what writes it is not
    installed, and for a folder that holds something else.
    """
    folder = Path(os.path.realpath(folder))
    _refuse_other(folder)
    pages = written()
    beside = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}")
    try:
        for page in pages:
            place = beside / page.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(_framed(page, pages, beside), encoding="utf-8")
        (beside / "index.html").write_text(_index(pages), encoding="utf-8")
        (beside / "llms.txt").write_text(llms(pages), encoding="utf-8")
        if reference:
            _reference(beside / REFERENCE)
        shutil.rmtree(folder, ignore_errors=True)
        beside.replace(folder)
    except OSError as error:
        raise ProbeError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return len(pages)


def _refuse_other(folder: Path) -> None:
    """Raises `ProbeError` for a folder with anything in it that is not of such a site."""
    if not folder.is_dir():
        if folder.exists() or folder.is_symlink():
            raise ProbeError(f"{folder} is no folder: choose another (out=)")
        return
    strange = sorted({path.name for path in folder.iterdir()} - PARTS)
    index = folder / "llms.txt"
    if not strange and index.is_file() and not index.read_bytes().startswith(FIRST.encode()):
        strange = ["another llms.txt"]
    if strange:
        raise ProbeError(f"{folder} holds {strange[0]}, no page of these: choose another (out=)")


def written() -> list[Page]:
    """The written pages, questions first, in their order."""
    found = []
    for part, source in ((QUESTIONS, "question_pages"), (REFUSALS, "refusal_pages")):
        place = resources.files(__package__).joinpath(source)
        files = sorted((each for each in place.iterdir() if each.name.endswith(".md")),
                       key=lambda each: each.name)  # fmt: skip
        for file in files:
            name = re.sub(r"^\d+_", "", file.name.removesuffix(".md"))
            found.append(Page(part, name, file.read_text(encoding="utf-8")))
    order = list(KINDS)
    return sorted(found, key=lambda p: order.index(p.name) if p.part == REFUSALS else -1)


def shown(code: str) -> Any:
    """What the last expression of a piece of code gives, as in a notebook; None without one."""
    tree = ast.parse(code)
    names: dict[str, Any] = {"__name__": "__page__"}
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<page>", "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), "<page>", "eval"), names)


def _figure(page: Page, folder: Path) -> str:
    """The figure of a page's first code, drawn into `folder`; nothing where it has none."""
    found = CODE.search(page.text)
    drawn = shown(found[1]) if found else None
    if drawn is None:
        return ""
    from resnet_probe.results import save_figure

    name = f"{page.name}.svg"
    save_figure(drawn, folder / page.part / name)
    return f'<figure><img src="{name}" alt="What the code above draws"></figure>'


def _framed(page: Page, pages: Sequence[Page], folder: Path) -> str:
    body = _html(page.text)
    if page.part == QUESTIONS:
        end = body.find("</pre>")
        close = body.find("</div>", end) + len("</div>") if "codehilite" in body else end + 6
        body = body[:close] + _figure(page, folder) + body[close:]
    else:
        body += _messages(page.name)
    return _frame(page.title, body, pages, depth="../")


def _html(text: str) -> str:
    try:
        import markdown2
    except ImportError:
        raise ProbeError("the pages need pdoc: pip install 'resnet-probe[docs]'") from None
    extras = ["fenced-code-blocks", "tables", "cuddled-lists"]
    html = str(markdown2.markdown(text, extras=extras))
    html = html.replace("<pre>", '<pre tabindex="0">').replace("<th>", '<th scope="col">')
    html = LINK.sub(r'href="../\1s/\2.html"', html)
    table = r'<div class="scroll" tabindex="0">\1</div>'
    return re.sub(r"(<table>.*?</table>)", table, html, flags=re.DOTALL)


def _messages(kind: str) -> str:
    """Every message of that kind, from the source: what is filled in stands in ‹ ›."""
    seen: dict[str, str] = {}
    for each in refusals():
        if kind_of(each.module) == kind:
            seen.setdefault(each.message, each.reason)
    rows = "".join(
        f"<dt>{escape(message)}</dt><dd>{escape(reason)}</dd>" for message, reason in seen.items()
    )
    return (
        f"<h2>All of them</h2><p>{len(seen)} sentences, as they stand in the source, each with "
        f"what was being done. ‹…› is filled in.</p><dl>{rows}</dl>"
    )


def _index(pages: Sequence[Page]) -> str:
    parts = [f"<h1>resnet_probe</h1><p>{escape(ABOUT)}</p>"]
    for part, title in ((QUESTIONS, "Questions"), (REFUSALS, "When it refuses")):
        rows = "".join(
            f'<dt><a href="{page.path}">{escape(page.title)}</a></dt><dd>{escape(page.about)}</dd>'
            for page in pages if page.part == part
        )  # fmt: skip
        parts.append(f"<h2>{title}</h2><dl>{rows}</dl>")
    commands = "".join(f"<dt><code>{row.name}</code></dt><dd>{row.help}</dd>" for row in ROWS)
    parts.append(f"<h2>Studies, as commands and in Python</h2><dl>{commands}</dl>")
    return _frame("resnet_probe", "".join(parts), pages, depth="")


def _frame(title: str, body: str, pages: Sequence[Page], *, depth: str) -> str:
    links = "".join(
        f'<li><a href="{depth}{page.path}">{escape(page.title)}</a></li>'
        for page in pages if page.part == QUESTIONS
    )  # fmt: skip
    refused = f'<li><a href="{depth}index.html#refusals">When it refuses</a></li>'
    reference = f'<li><a href="{depth}{REFERENCE}/resnet_probe.html">Python reference</a></li>'
    body = body.replace("<h2>When it refuses</h2>", '<h2 id="refusals">When it refuses</h2>')
    named = title if title == "resnet_probe" else f"{title} · resnet_probe"
    frame = resources.files(__package__).joinpath("frame.html").read_text(encoding="utf-8")
    for slot, value in {"title": escape(named), "home": f"{depth}index.html", "body": body,
                        "links": f"{links}{refused}{reference}"}.items():  # fmt: skip
        frame = frame.replace(f"[[{slot}]]", value)
    return frame


def _reference(folder: Path) -> None:
    """The pages of pdoc on the public names, which are loaded first so that it finds them."""
    try:
        import pdoc
    except ImportError:
        raise ProbeError("the reference needs pdoc: pip install 'resnet-probe[docs]'") from None
    for name in resnet_probe.__all__:
        getattr(resnet_probe, name)
    pdoc.render.configure(docformat="markdown", math=True, show_source=False)
    pdoc.pdoc("resnet_probe", "!resnet_probe.", output_directory=folder)


def llms(pages: Sequence[Page]) -> str:
    """The index for programs: pages, public names with their signatures, commands."""
    lines = [FIRST, "", f"> {ABOUT}", "", "## Pages", ""]
    lines += [f"- [{page.title}]({page.path}): {page.about}" for page in pages]
    lines += ["", "## Python: import resnet_probe as rp", ""]
    lines += [_named(name) for name in resnet_probe.__all__]
    lines += ["", "## Commands: python -m resnet_probe COMMAND (or resnet-probe COMMAND)", ""]
    lines += [f"- {row.name}: {row.help}" for row in ROWS]
    return "\n".join([*lines, ""])


def _named(name: str) -> str:
    thing = getattr(resnet_probe, name)
    first = (inspect.getdoc(thing) or "").partition("\n\n")[0]
    arguments = ""
    if inspect.isfunction(thing):
        given = inspect.signature(thing).parameters
        arguments = f"({', '.join(given)})"
    return f"- rp.{name}{arguments}: {' '.join(first.split())}"
