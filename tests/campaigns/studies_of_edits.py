"""What the studies that edit a network have to say of it."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from campaigns import expected
from campaigns.case import Case
from campaigns.edited import edited, some_edits
from campaigns.expected import losses, student
from torch import Tensor

from resnet_probe import ProbeError
from resnet_probe.edits import generator_for


def lesion(case: Case) -> None:
    x, y = case.some()
    pick, plain = case.pick, case.plain
    texts = ["", *(f"delete {b}" for b in case.blocks)]
    whole = [edited(plain, x, text) for text in texts]
    found = case.ask("lesion", x, y, exact=pick.random() < 0.3)
    assert list(found.table["blocks"]) == ["", *map(str, case.blocks)]
    case.near_table(found.table, expected.of_edits(whole, y))
    assert (found.outcomes["answer"] == torch.stack(whole).argmax(2).numpy()).all()
    pick.choice(
        [lesion_of_texts, lesion_sweeps, lesion_draws, lesion_by_class, lesion_renewed,
         lesion_replaced]
    )(case, x, y)  # fmt: skip


def lesion_of_texts(case: Case, x: Tensor, y: Tensor) -> None:
    texts = some_edits(case.pick, case.plain)
    found = case.ask("lesion", x, y, edits=texts[1:]).table
    case.near_table(found, expected.of_edits([edited(case.plain, x, text) for text in texts], y))


def lesion_sweeps(case: Case, x: Tensor, y: Tensor) -> None:
    """Named lists; a table has their texts."""
    kept = any(
        case.plain.keeps_shape(b) and case.plain.keeps_shape(b + 1) for b in case.blocks[:-1]
    )
    names = ["ranges", "cut", *(["neighbours", "middles"] if kept else [])]
    found = case.ask("lesion", x, y, edit=case.pick.choice(names), draws=2).table
    case.near_table(found, expected.of_edits([edited(case.plain, x, e) for e in found["edit"]], y))


def lesion_draws(case: Case, x: Tensor, y: Tensor) -> None:
    """Random ones, by the blocks that a table names."""
    kept = [b for b in case.blocks if case.plain.keeps_shape(b)]
    forms = {"delete": "delete {}", "duplicate": "repeat {} 2", "permute": "swap {}"}
    # All but the first block of a stage change places.
    swaps = any(set(kept) >= {b, b + 1, b + 2} for b in case.blocks[:-2])
    ways = ["delete", *(["duplicate"] if kept else []), *(["permute"] if swaps else [])]
    edit = case.pick.choice(ways)
    counts = range(1, 1 + len(kept if edit == "duplicate" else case.blocks))
    found = case.ask("lesion", x, y, edit=edit, counts=tuple(counts), draws=2).table
    logits = []
    for blocks in found["blocks"]:
        parts = [forms[edit].format(b.replace("-", " ")) for b in blocks.split()]
        logits.append(edited(case.plain, x, "; ".join(parts)))
    case.near_table(found, expected.of_edits(logits, y))


def lesion_by_class(case: Case, x: Tensor, y: Tensor) -> None:
    found = case.ask("lesion", x, y, by="class").table
    right = torch.stack([case.plain.without(x, *gone).logits.argmax(1) == y
                         for gone in [(), *((b,) for b in case.blocks)]])  # fmt: skip
    for (blocks, label), rows in found.groupby(["blocks", "class"]):
        mine = right[int(blocks or 0), y == int(label)]
        assert (len(rows), rows["images"].item()) == (1, len(mine))
        assert rows["correct"].item() == int(mine.sum())
    assert len(found) == len(right) * len(y.unique())


def lesion_renewed(case: Case, x: Tensor, y: Tensor) -> None:
    """With batch-norm statistics of their own, of other images."""
    if case.plain.renewed(case.images[7:], [1.0] * len(case.blocks)) is None:
        with pytest.raises(ProbeError, match="has no batch norm"):
            case.ask("lesion", x, y, recalibrate=case.images[7:])
        return
    found = case.ask("lesion", x, y, recalibrate=case.images[7:]).table
    for row, gone in enumerate([(), *((b,) for b in case.blocks)]):
        gates = [float(b not in gone) for b in case.blocks]
        logits = case.plain.renewed(case.images[7:], gates).run(x, gates).logits
        assert found["recalibrated_correct"][row] == int((logits.argmax(1) == y).sum())


def lesion_replaced(case: Case, x: Tensor, y: Tensor) -> None:
    others = case.images[7:]
    seen = case.plain.run(others).blocks

    def value(b: int, what: str) -> Tensor:
        branch = seen[b - 1].branch
        none, all_of_it = torch.zeros_like(branch[:1]), branch.mean(0, keepdim=True)
        channel = branch.mean((0, 2, 3), keepdim=True).expand_as(all_of_it)
        return {"zero": none, "mean": all_of_it, "channel mean": channel}[what]

    names = ("zero", "mean", "channel mean")
    texts = ["", *(f"replace {b} {what}" for b in case.blocks for what in names)]
    found = case.ask("lesion", x, y, edits=texts[1:], calibrate=others).table
    logits = [edited(case.plain, x, text, value) for text in texts]
    case.near_table(found, expected.of_edits(logits, y))


def control(case: Case) -> None:
    x, y, n = case.images, case.y, len(case.images)
    controls = ("other image", "noise", "sign")
    found = case.ask("control", x, y, batch=case.pick.choice([None, 16, 32]))
    whole, kinds = case.plain.run(x), ["baseline"]
    logits = [whole.logits]
    following = torch.tensor([i + 1 if i % 16 < 15 and i + 1 < n else i - i % 16 for i in range(n)])
    for b in case.blocks:
        h, branch = whole.blocks[b - 1].h, whole.blocks[b - 1].branch
        behind = [(k, 1.0) for k in case.blocks[b:]]
        drawn = torch.randn(16, *branch.shape[1:], generator=generator_for(0, "noise", b))
        noise = drawn.double()[torch.arange(n) % 16]
        size = branch.flatten(1).norm(dim=1)
        there = {"delete": 0 * branch, "sign": -branch}
        for kind, other in (("other image", branch[following]), ("noise", noise)):
            scale = (size / other.flatten(1).norm(dim=1)).nan_to_num(0, 0, 0).view(-1, 1, 1, 1)
            there[kind] = branch + other * scale
        for kind in ("delete", *controls):
            out = case.plain.block(b, h, branch=there[kind]).out
            logits.append(case.plain.onward(out, behind).logits)
            kinds.append(kind)
    assert list(found.table["kind"]) == kinds
    case.near_table(found.table, expected.of_edits(logits, y))
    right = 100 * (torch.stack(logits).argmax(2) == y).double().numpy()
    deleted = [1 + 4 * (row // 4) if row % 4 else np.nan for row in range(len(kinds) - 1)]
    beside = [np.nan, *(right[int(d)].mean() - right[row].mean() if d == d else np.nan
                        for row, d in enumerate(deleted, start=1))]  # fmt: skip
    case.near(found.table["beside_deletion_pct"], beside)
    of = np.array(kinds)
    for kind in controls:
        change = right[of == kind].mean(0) - right[of == "delete"].mean(0)
        case.near(found.provenance["against"][kind], student(change), kind)


def influence(case: Case) -> None:
    if len(case.blocks) < 2:
        return
    x, y = case.some()
    table = case.ask("influence", x, y).table
    whole = case.plain.run(x).blocks
    matrix = np.full((len(whole), len(whole)), np.nan)
    for row in table[table["quantity"] == "influence"].itertuples():
        own = whole[row.on - 1].branch
        change = (case.plain.without(x, row.block).blocks[row.on - 1].branch - own).flatten(1)
        length = own.flatten(1).norm(dim=1)
        share = change.norm(dim=1) / length.where(length > 0, torch.nan)
        matrix[row.block - 1, row.on - 1] = row.value
        case.near([row.value, row.ci_low, row.ci_high], student(share), row)
    for row in table[table["quantity"] == "depth"].itertuples():
        chains = [
            some
            for k in case.blocks
            for some in combinations(range(len(whole)), k)
            if all(matrix[a, b] >= row.threshold for a, b in pairwise(some))
        ]
        assert row.value == max(map(len, chains))


def greedy(case: Case) -> None:
    x, y = case.some(11)
    result = case.ask("greedy", x, y)
    table, judged = result.table, torch.as_tensor(result.outcomes["images"])
    chosen = torch.tensor([i for i in range(len(y)) if i not in judged.tolist()])
    assert len(chosen) == 5

    def loss(*gone: int) -> float:
        return float(losses(case.plain.without(x[chosen], *gone).logits, y[chosen]).mean())

    def error(*gone: int) -> float:
        wrong = case.plain.without(x[chosen], *gone).logits.argmax(1) != y[chosen]
        return 100 * float(wrong.double().mean())

    near, orders = 1e-6 if case.double else 1e-4, {}
    for kind in table["kind"][1:].unique():
        rows = table[table["kind"] == kind]
        orders[kind] = order = list(rows["block"])
        for k, text in enumerate(rows["blocks"], start=1):
            assert sorted(order[:k]) == sorted(map(int, text.split()))
    for k, b in enumerate(orders["greedy"]):
        gone = orders["greedy"][:k]
        assert loss(*gone, b) <= min(loss(*gone, o) for o in case.blocks if o not in gone) + near
    seen = case.plain.run(x[chosen]).blocks
    cosines = {s.number: 1 - torch.cosine_similarity(s.h.flatten(1), s.out.flatten(1), eps=0).mean()
               if s.h.shape == s.out.shape else torch.inf for s in seen}  # fmt: skip
    single = {b: loss(b) for b in case.blocks}
    for kind, score in (("single deletion", single), ("block influence", cosines)):
        scores = np.array([float(score[b]) for b in orders[kind]])
        assert (np.diff(scores[np.isfinite(scores)]) >= -near).all(), kind
        assert (np.diff(1.0 * np.isinf(scores)) >= 0).all(), kind
    case.near(result.provenance["single_loss"], list(single.values()))
    gone = [orders["greedy"][:k] for k in range(len(orders["greedy"]) + 1)]
    case.near(table["chosen_error_pct"][: len(gone)], [error(*some) for some in gone])
    deleted = [tuple(map(int, text.split())) for text in table["blocks"]]
    logits = [case.plain.without(x[judged], *some).logits for some in deleted]
    case.near_table(table, expected.of_edits(logits, y[judged]))
    _against(case, result, torch.stack(logits), y[judged])


def _against(case: Case, result, logits: Tensor, y: Tensor) -> None:
    kinds = np.array(result.table["kind"])
    wrong = 100 * (logits.argmax(2) != y).double().numpy()
    nats = torch.stack([losses(each, y) for each in logits]).numpy()
    for fact, values in (("against_pct", wrong), ("against_loss", nats)):
        for kind, found in result.provenance[fact].items():
            more = values[kinds == kind].mean(0) - values[kinds == "greedy"].mean(0)
            ends = student(more)
            if not np.ptp(more):  # no image changed: nothing tells an error
                ends = ends[0], np.nan, np.nan
            case.near(found, ends, (fact, kind), least=1)


def gates(case: Case) -> None:
    x, y = case.some()
    given = case.pick.choice([(0.0, 0.25, 0.5, 0.75, 1.25, 1.5, 1.75, 2.0), (-1.0, 0.5, 3.0)])
    result = case.ask("gates", x, y, gates=given)
    table, ones = result.table, np.ones(len(case.blocks))
    rows = [(b, gate) for b in case.blocks for gate in given]
    assert list(zip(table["block"][1:].astype(int), table["gate"][1:], strict=True)) == rows
    with torch.no_grad():
        logits = [case.plain.run(x).logits]
        logits += [case.plain.run(x, np.where(np.array(case.blocks) == b, gate, ones)).logits
                   for b, gate in rows]  # fmt: skip
    case.near_table(table, expected.of_edits(logits, y))
    at = torch.ones(len(case.blocks), len(y), dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(losses(case.plain.run(x, list(at)).logits, y).sum(), at)[0]
    foretold = np.stack([(gate - 1) * slope[b - 1].numpy() for b, gate in rows])
    for name, ends in zip(("loss", "low", "high"), student(foretold), strict=True):
        case.near(table[f"foretold_{name}"][1:], ends, name, times=5)
    change = np.array(table["delta_loss"][1:]).reshape(-1, len(given))
    line = foretold.mean(1).reshape(-1, len(given))
    for place, gate in enumerate(given):
        own, guess = change[:, place], line[:, place]
        if np.abs(own).max() < 1e-5:
            continue  # rounding
        r2 = 1 - ((own - guess) ** 2).sum() / (own**2).sum()
        case.near(result.provenance["taylor_r2"][f"{gate:g}"][0], r2, times=20)
        if len(own) > 1:
            told = result.provenance["taylor_rank"][f"{gate:g}"][0]
            case.near(told, case.ranked(own, guess, told))


CHECKS = {check.__name__: check for check in (lesion, control, influence, greedy, gates)}
