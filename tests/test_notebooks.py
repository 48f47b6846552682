"""The notebooks run as they are, and say what they claim to show."""

from __future__ import annotations

import re

import nbformat
import pytest
from conftest import ROOT
from nbformat import NotebookNode
from notebook_runs import executed

FOLDER = ROOT / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
CLAIMS = {
    "1_tour": """
        assert chain.residue == 0 and len(chain) == 27
        assert lesion.table["error_pct"].iloc[1:].max() > lesion.table["error_pct"].iloc[0]
        assert edited["error_pct"].median() <= whole["error_pct"] + 2
        assert abs(shares.sum() - 1) < 1e-5 and half < len(chain) / 2
        assert explorer.now.correct < explorer.set(off=[5, 10, 15, 20]).correct
    """,
    "2_lesion": """
        median = {a: r.table["error_pct"].iloc[1:].median() for a, r in results.items()}
        assert median["plain20"] > 50 > median["resnet20"] > median["resnet56"]
        by_count = several.table.query("edits > 0").groupby("edits")["error_pct"].median()
        assert by_count.iloc[0] < 5 and by_count.iloc[-1] > 50
        by_tau = drawn.groupby(drawn["tau"].round(2))["error_pct"].median()
        assert by_tau.loc[0.8] > by_tau.loc[0.98]
        assert both["recalibrated_error_pct"].median() < both["error_pct"].median()
        assert list(against) == ["single deletion", "block influence"] and r2["0"] < 0.5
    """,
    "3_paths": """
        assert len(by_length) == len(chain) + 1
        assert difference < 1e-5
        assert abs(share.sum() - 1) < 1e-5 and half < len(chain) / 2
        single = norms["rms_norm"].astype(float)
        assert single.loc[1] > single.loc[4] > single.loc[12]
    """,
    "4_responses_and_lens": """
        ratios = {arch: r.table.query("quantity == 'ratio'") for arch, r in found.items()}
        ratios = {arch: rows["value"].median() for arch, rows in ratios.items()}
        assert ratios["resnet56"] < ratios["resnet20"]
        assert (cosine["value"] < 0).mean() > 0.5
        assert right.iloc[0] < 50 < right.iloc[-1]
    """,
    "5_your_own_network": """
        assert accuracy > 0.8
        assert chain.residue == 0 and len(chain) == 8
        assert difference < 1e-5
        assert lesion.table["error_pct"].iloc[1:].max() > lesion.table["error_pct"].iloc[0]
        assert len(ready.chain) == len(chain) and again["correct"].equals(lesion.table["correct"])
        assert net.training is False and explorer.now.correct < len(explorer.labels)
    """,
    "6_language_model": """
        assert ready.chain.residue == 0 and len(ready.chain) == 8 and not model.training
        assert difference < 1e-5
        assert lesion.table["perplexity"].iloc[0] < len(alphabet) / 3
        assert (lesion.table["delta_loss_low"].iloc[1:] > 0).any()
        assert lens.table["kl_nats"].iloc[-1] == 0 < lens.table["kl_nats"].iloc[0]
    """,
    "7_classes": """
        assert len(edited) == 9 * 10 and 0 < len(hurt) < len(edited) / 2
        assert int(whole.values.sum()) == len(ready.labels) == int(without.values.sum())
        by_class = classes.table.query("edits == 0").set_index("class")["correct"]
        assert list(by_class) == list(whole.values.diagonal())
        assert without.values.trace() < whole.values.trace()
    """,
}


def read(name: str) -> NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def said(notebook: NotebookNode) -> list[list[str]]:
    """By code cell: its printed text without numbers, and the kinds of what else it shows."""
    return [[_kind(o) for o in _joined(cell.outputs)] for cell in notebook.cells if _is_code(cell)]


def _is_code(cell: NotebookNode) -> bool:
    return cell.cell_type == "code"


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Pieces of one stream as one: where they are cut depends on the machine."""
    merged: list[NotebookNode] = []
    for output in outputs:
        if merged and output.output_type == merged[-1].output_type == "stream":
            merged[-1].text += output.text
        else:
            merged.append(output.copy())
    return merged


def _kind(output: NotebookNode) -> str:
    if output.output_type != "stream":
        return " ".join(sorted(output.data))
    return " ".join(re.sub(r"[-−]?\d[\d.e+-]*", "#", output.text).split())


RENDERED = "7_classes"
"""The one whose figures become pictures."""
FEWER = {
    "1_tour": {'prepare("resnet110", limit=400)': 'prepare("resnet56", limit=24)',
               "off=[10, 20, 30, 40]": "off=[5, 10, 15, 20]", "images[:8], labels[:8]":
               "images[:4], labels[:4]"},
    "2_lesion": {"limit=200": "limit=40", "limit=100": "limit=24",
                 "3, 4, 6, 8, 12], draws=16": "12], draws=4",
                 "0.95, 0.9, 0.8], draws=8": "0.8], draws=3",
                 "limit=400": "limit=80", "200]": "40]", "[200": "[40"},
    "3_paths": {"limit=16": "limit=4", "signs=8, samples=60": "signs=3, samples=15"},
    "4_responses_and_lens": {"limit=100": "limit=24", "limit=200": "limit=48", "100]": "24]"},
    "5_your_own_network": {"[:300]": "[:60]", "limit=300": "limit=60", "range(6)": "range(3)",
                           "6 * 20": "3 * 20", "images[:64], labels[:64]":
                           "images[:24], labels[:24]", "[:200]": "[:60]"},
    "6_language_model": {"steps = 600": "steps = 40", "test[:200]": "test[:30]",
                         "test[:16]": "test[:4]"},
    "7_classes": {"limit=400": "limit=120", "[:200]": "[:40]"},
}  # fmt: skip
"""What a notebook is run with here, in the place of what stands in it."""


def fewer(source: str, name: str) -> str:
    """Each number once, from what stands there: 200 to 100 is not taken to 60 thereafter."""
    found = FEWER[name]
    pattern = "|".join(map(re.escape, sorted(found, key=len, reverse=True)))
    return re.sub(pattern, lambda match: found[match[0]], source)


def test_each_notebook_has_its_claims():
    assert set(CLAIMS) == set(NAMES) == set(FEWER)
    for name, changes in FEWER.items():
        source = "".join(cell.source for cell in read(name).cells)
        assert all(each in source for each in changes), name


@pytest.mark.parametrize("name", NAMES)
def test_committed_notebook_is_whole_and_quiet(name):
    path, notebook = FOLDER / f"{name}.ipynb", read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert path.stat().st_size < 400 * 1024
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}
    code = [cell for cell in notebook.cells if _is_code(cell)]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any(cell.metadata for cell in notebook.cells)
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert not any(output.get("name") == "stderr" for cell in code for output in cell.outputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_ends_with_what_it_does_not_show(name):
    assert read(name).cells[-1].source.startswith("## What this does not show\n\n* ")


@pytest.mark.parametrize("name", NAMES)
def test_notebook_uses_public_names_only(name):
    source = "\n".join(cell.source for cell in read(name).cells if _is_code(cell))
    assert not re.search(r"(\.|import )_(?!_)\w", source)


@pytest.mark.many(4)
@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs_and_its_claims_hold(name, tmp_path, kernel):
    committed = said(read(name))
    notebook = read(name)
    for cell in filter(_is_code, notebook.cells):
        cell.source = fewer(cell.source, name)
    claims = "\n".join(line.strip() for line in CLAIMS[name].strip().splitlines())
    notebook.cells.append(nbformat.v4.new_code_cell(claims))
    done = executed(notebook, tmp_path, kernel, rendered=name == RENDERED)
    assert said(done)[:-1] == committed, "renew the outputs: see tests/notebook_runs.py"
    assert not any(tmp_path.iterdir())


EXPLORED = [
    "import resnet_probe as rp\n"
    "ready = rp.prepare('resnet20', limit=20)\n"
    "shown = rp.explore(ready.chain, ready.images, ready.labels)\n"
    "shown",
    "shown.board.buttons[0].click()\n"
    "shown.count.value, shown.seed.value = 3, 5\n"
    "shown.brush.value = 'twice'\n"
    "shown.board.buttons[4].click()\n"
    "print(shown.now.sentence)",
    "import torch\n"
    "with torch.no_grad():\n"
    "    logits = ready.chain.run(ready.images, shown.now.switches.edit)\n"
    "assert shown.now.correct == int((logits.argmax(1) == ready.labels).sum())\n"
    "assert shown.now.switches.off == (1,) and shown.now.switches.twice == (5,)\n"
    "assert 'rp.Explorer(ready.chain, ready.images, ready.labels)' in shown.code.value\n"
    "exec(shown.code.value)\n"
    "assert now.correct == shown.now.correct",
]


def test_the_explorer_in_a_kernel(tmp_path, kernel):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in EXPLORED])
    done = executed(notebook, tmp_path, kernel)
    view = done.cells[0].outputs[0]["data"]["application/vnd.jupyter.widget-view+json"]
    state = done.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert state[view["model_id"]]["model_name"] == "VBoxModel"
    blocks = [s for s in state.values() if "rp-block" in s["state"].get("_dom_classes", ())]
    assert sorted(s["state"]["description"] for s in blocks) == sorted(
        ["1", "2", "3", "4", "5×2", "6", "7", "8", "9"]
    )
    sentence = done.cells[1].outputs[0]["text"].strip()
    assert sentence.endswith("% with all on")
    assert done.cells[2].outputs[0]["text"].strip() == sentence
