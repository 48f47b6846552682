"""The read-outs of the widget as HTML, in the colours of JupyterLab's theme."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_probe.explorer.outcome import Outcome

CLASSES = 12
IMAGES = 10

STYLE = """<style>
.rp-explore { --rp-on: #0072B2; --rp-twice: #E69F00; --rp-ink: var(--jp-ui-font-color1, #222);
  --rp-faint: var(--jp-layout-color2, #eee); --rp-dim: var(--jp-ui-font-color2, #616161);
  padding: 4px 10px 4px 2px; max-width: 960px }
.rp-explore .rp-line { padding: 10px 0 4px 6px; row-gap: 12px }
.rp-explore button.rp-block { position: relative; overflow: visible; width: 37px; height: 26px;
  padding: 0; margin: 0 12px 0 0; font-size: 12px; line-height: 24px; flex: none;
  border: 1px solid var(--rp-on); border-radius: 3px; background: var(--rp-on); color: #fff }
.rp-explore button.rp-block::before { content: ""; position: absolute; left: -7px; right: -7px;
  top: -9px; height: 21px; border: 1.3px solid var(--rp-ink); border-bottom: 0;
  border-radius: 7px 7px 0 0; pointer-events: none; clip-path: inset(-2px -2px 12px -2px) }
.rp-explore button.rp-block::after { content: ""; position: absolute; left: -12px; width: 11px;
  top: 11px; border-top: 1.3px solid var(--rp-ink); pointer-events: none }
.rp-explore button.rp-projection::before { border-top-width: 3px; border-color: #D55E00 }
.rp-explore button.rp-parameter-free::before { border-top-style: dashed }
.rp-explore button.rp-off { background: transparent; color: var(--rp-dim); font-style: italic;
  border: 1px dashed var(--rp-dim); text-decoration: line-through }
.rp-explore button.rp-twice { background: var(--rp-twice); border-color: var(--rp-twice);
  color: #000; font-size: 11px }
.rp-explore button.rp-scaled { background: #9CCBE8; color: #000; font-size: 11px }
.rp-explore button.rp-small { height: 20px; width: auto; line-height: 19px; padding: 0 8px;
  font-size: 11px }
.rp-explore button:focus-visible { outline: 2px solid var(--rp-ink); outline-offset: 1px }
.rp-explore .rp-title { color: var(--rp-dim); font-size: 12px; line-height: 20px }
.rp-head { color: var(--rp-ink); line-height: 1.35 }
.rp-head b { font-size: 28px; font-weight: 600; margin-right: 6px }
.rp-head small { color: var(--rp-dim); font-size: 12px }
.rp-bars { display: grid; grid-template-columns: auto 1fr auto; gap: 3px 8px; align-items: center;
  font-size: 12px; line-height: 16px; color: var(--rp-ink) }
.rp-bars .rp-bar { position: relative; height: 13px; background: var(--rp-faint) }
.rp-bars .rp-fill { position: absolute; inset: 0 auto 0 0; background: var(--rp-on) }
.rp-bars .rp-mark { position: absolute; top: -2px; bottom: -2px; width: 2px; margin-left: -1px;
  background: var(--rp-ink) }
.rp-pictures { display: flex; flex-wrap: wrap; gap: 8px; color: var(--rp-ink); font-size: 12px;
  line-height: 15px }
.rp-pictures figure { margin: 0; width: 60px; text-align: center }
.rp-pictures img { width: 56px; height: 56px; object-fit: contain; image-rendering: pixelated;
  border: 2px solid transparent }
.rp-pictures figure.rp-wrong img { border-color: #D55E00 }
.rp-explore h4 { margin: 6px 0 4px; font-size: 13px; font-weight: 600; color: var(--rp-ink) }
.rp-message { color: var(--rp-ink); border-left: 3px solid #D55E00; padding-left: 6px;
  font-size: 12px; line-height: 18px }
</style>"""


COPY = """<button class="jupyter-button rp-copy" type="button" onclick="
  const code = this.closest('.rp-code').querySelector('textarea');
  const said = () => { this.textContent = 'Copied';
    setTimeout(() => { this.textContent = 'Copy'; }, 1500); };
  if (navigator.clipboard) { navigator.clipboard.writeText(code.value).then(said); }
  else { code.select(); document.execCommand('copy'); said(); }
">Copy</button>"""
"""A page that is not served securely has no clipboard of its own: there the old way is taken."""


def headline(now: Outcome, unit: str) -> str:
    """The accuracy, its interval, and what it is compared with."""
    if str(now.switches) == "all on":
        beside = "all on: the network as it is"
    else:
        run = f"{now.branch_runs} {unit}{'' if now.branch_runs == 1 else 's'} run"
        beside = (
            f"{now.switches}; {now.whole_pct:.1f} % with all on, p = {now.p_value:.2g} on the "
            f"same images · {run} in {1000 * now.seconds:.0f} ms"
        )
    return (
        f'<div class="rp-head" role="status"><b>{now.accuracy_pct:.1f} %</b> of {now.images} '
        f"images right (95 % CI {now.low_pct:.1f}–{now.high_pct:.1f})"
        f"<br><small>{html.escape(beside)}</small></div>"
    )


def bars(now: Outcome) -> str:
    """One bar a class, its mark where the network as it is stands."""
    table = now.classes
    change = (table["accuracy_pct"] - table["whole_pct"]).abs()
    shown = table.loc[change.nlargest(CLASSES).index.sort_values()]
    note = "" if len(shown) == len(table) else f", the {CLASSES} most changed of {len(table)}"
    rows = "".join(_bar(row) for row in shown.itertuples())
    return f'<h4>Accuracy by class{note} (mark: all on)</h4><div class="rp-bars">{rows}</div>'


def _bar(row: Any) -> str:
    now, whole = f"{row.accuracy_pct:.1f}", f"{row.whole_pct:.1f}"
    said = f"{now} % now ({row.low_pct:.0f}–{row.high_pct:.0f}), {whole} % with all on"
    return (
        f'<span>{html.escape(row.name)}</span><div class="rp-bar" title="{said}">'
        f'<div class="rp-fill" style="width:{now}%"></div>'
        f'<div class="rp-mark" style="left:{whole}%"></div></div>'
        f"<span>{row.correct}/{row.images}</span>"
    )


def pictures(now: Outcome, names: tuple[str, ...], uri: Callable[[int], str]) -> str:
    """The most changed images with the answers before and now."""
    shown = now.changed[now.changed["distance"] >= 0.005].head(IMAGES)
    if shown.empty:
        return "<h4>Most changed images</h4><span>No answer has changed.</span>"
    items = "".join(_picture(row, names, uri) for row in shown.itertuples())
    return f'<h4>Most changed images (✗: wrong now)</h4><div class="rp-pictures">{items}</div>'


def _picture(row: Any, names: tuple[str, ...], uri: Callable[[int], str]) -> str:
    label, before, after = (html.escape(names[i]) for i in (row.label, row.before, row.after))
    said = f"image {row.image}, a {label}: {before} with all on, {after} now"
    text = after if before == after else f"{before} → {after}"
    wrong = ""
    if row.after != row.label:
        wrong, text = ' class="rp-wrong"', f"{text} ✗"
    return (
        f'<figure{wrong} title="{said}"><img src="{uri(row.image)}" alt="{said}">'
        f"<figcaption>{text}<br>Δ {row.distance:.2f}</figcaption></figure>"
    )
