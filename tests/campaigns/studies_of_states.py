"""What the studies of responses, of states, and the one that trains on have to say of a network."""

from __future__ import annotations

import copy

import numpy as np
import torch
from campaigns.case import Case
from campaigns.expected import divergence, losses, student
from campaigns.plain import Plain, Seen, Trace, cosine, over, pulled, size
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from resnet_probe.edits import generator_for

# ---- responses


class Relus(TorchFunctionMode):
    """Keeps what ReLUs give."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Tensor] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        given = function(*args, **(kwargs or {}))
        if function in (torch.relu, torch.relu_, F.relu):
            self.found.append(given.clone())
        return given


def convolutions(plain: Plain, x: Tensor) -> list[tuple[int, Tensor]]:
    """What each convolution of the stem and the branches gives, with its block."""
    net, found, here = plain.net, [], [0]

    def keep(module, given, made):
        found.append((here[0], made.clone()))

    def enter(number):
        return lambda *_: here.__setitem__(0, number)

    hooks = [net.stem.register_forward_hook(keep)]
    for number, block in enumerate(net.blocks, start=1):
        hooks.append(block.first.register_forward_pre_hook(enter(number)))
        hooks += [m.register_forward_hook(keep) for name, m in block.named_modules()
                  if isinstance(m, nn.Conv2d) and not name.startswith("project")]  # fmt: skip
    plain.run(x)
    for hook in hooks:
        hook.remove()
    return found


def responses(case: Case) -> None:
    x, y = case.some()
    plain, init = case.initial(x)
    table = case.ask("responses", x, y, costs=True, init=init).table
    layers = table[table["place"] == "layer"]
    made = convolutions(plain, x)
    assert list(layers["block"]) == [block for block, _ in made]
    spread = [each.std(correction=0) for _, each in made]
    case.near(layers["value"], spread)
    case.near(table.loc[table["place"] == "network", "value"].item(), np.mean(spread))
    trace = plain.run(x)
    scores = {}
    for seen in trace.blocks:
        rows = table[(table["place"] == "block") & (table["number"] == seen.number)]
        rows = rows.set_index("quantity")
        single = _of_images(plain, trace, seen, x, y)
        for name, values in single.items():
            row = rows.loc[name]
            case.near(
                row[["value", "ci_low", "ci_high"]], student(values), (seen.number, name), times=5
            )
            known = values[~values.isnan()].detach().numpy()
            if len(known):
                case.near(
                    row[["q05", "q50", "q95"]], np.quantile(known, [0.05, 0.5, 0.95]), name, times=5
                )
        scores[seen.number] = {name: student(values)[0] for name, values in single.items()}
        for name, value in _of_block(plain, seen).items():
            case.near(rows.loc[name, "value"], value, (seen.number, name), times=5)
    ranks = table[table["place"] == "blocks"].set_index("quantity")["value"]
    for name, score in (("influence_rank", "block_influence"), ("ratio_rank", "ratio")):
        both = np.array([[each[score], each["deletion_cost"]] for each in scores.values()])
        both = both[~np.isnan(both).any(1)]
        case.near(ranks[name], case.ranked(*both.T, ranks[name]), name)


def _of_images(plain: Plain, trace: Trace, seen: Seen, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    b, blocks = seen.number, range(1, len(plain) + 1)
    none = torch.full((len(y),), torch.nan, dtype=torch.float64)
    behind = [(k, 1.0) for k in blocks[b:]]
    cost = losses(plain.without(x, b).logits, y) - losses(trace.logits, y)
    ones = torch.ones(len(y), dtype=torch.float64)

    def onward(total: Tensor) -> Tensor:
        return losses(plain.onward(plain.after(b, total), behind).logits, y)

    up = pulled(onward, seen.total, ones)
    down = pulled(lambda h: onward(plain.shortcut(b, h) + plain.branch(b, h)), seen.h, ones)
    stages = [sum(block.plan.halves for block in plain.blocks[:k]) for k in blocks]
    last = max(k for k in blocks if stages[k - 1] == stages[b - 1])
    end = trace.blocks[last - 1].out
    same = seen.h.shape == seen.out.shape
    return {
        "ratio": over(size(seen.branch), size(seen.shortcut)),
        "cosine_shortcut": cosine(seen.branch, seen.shortcut),
        "cosine_gradient": cosine(seen.branch, down) if same else none,
        "cosine_gradient_sum": cosine(seen.branch, up),
        "stage_deviation": over(size(seen.out - end), size(end)),
        "block_influence": 1 - cosine(seen.h, seen.out) if same else none,
        "deletion_cost": cost,
    }


def _of_block(plain: Plain, seen: Seen) -> dict[str, float]:
    with Relus() as mode:
        plain.branch(seen.number, seen.h)
        plain.after(seen.number, seen.total)
    units = torch.cat([each.flatten(1) for each in mode.found], 1) if mode.found else None
    matrix = seen.branch.transpose(0, 1).flatten(1)
    spreads = [t.transpose(0, 1).flatten(1).var(1).mean() for t in (seen.branch, seen.shortcut)]
    singular = torch.linalg.svdvals(matrix)
    share = (lambda yes: 100 * float(yes.all(0).double().mean())) if units is not None else None
    return {
        "variance_ratio": over(*spreads),
        "stable_rank": over((singular**2).sum(), singular[0] ** 2),
        "dead_pct": share(units == 0) if share else np.nan,
        "always_on_pct": share(units > 0) if share else np.nan,
    }


def lens(case: Case) -> None:
    x, y = case.some()
    others, blocks = case.images[7:], case.blocks
    gates = {depth: [float(b <= depth) for b in blocks] for depth in (0, *blocks)}
    # Nothing but shortcuts, what follows the sums and the head is run behind a depth.
    tails = [case.plain.renewed(others, g, depth, tail=True) for depth, g in gates.items()]
    given = {"recalibrate": others} if tails[0] is not None and case.pick.random() < 0.5 else {}
    table, whole = case.ask("lens", x, y, **given).table, case.plain.run(x).logits
    for depth, row in table.iterrows():
        assert (row["block"], row["images"]) == (depth, len(y))
        logits = case.plain.run(x, gates[depth]).logits
        assert row["correct"] == int((logits.argmax(1) == y).sum())
        _judged(case, row, "", logits, whole, y)
        if not given or tails[depth] is None:
            assert np.isnan(row["recalibrated_accuracy_pct"])
            continue
        h = case.plain.run(x).blocks[depth].h if depth < len(blocks) else case.plain.run(x).h
        behind = [(b, 0.0) for b in blocks[depth:]]
        _judged(case, row, "recalibrated_", tails[depth].onward(h, behind).logits, whole, y)


def _judged(case: Case, row, kind: str, logits: Tensor, whole: Tensor, y: Tensor) -> None:
    log_p = logits.log_softmax(1)
    right, same = logits.argmax(1) == y, logits.argmax(1) == whole.argmax(1)
    for name, yes in (("accuracy", right), ("agreement", same)):
        count = int(yes.sum())
        ends = stats.binomtest(count, len(y)).proportion_ci(method="wilson")
        ends = 100 * np.array([count / len(y), ends.low, ends.high])
        case.near([row[f"{kind}{name}_{end}pct"] for end in ("", "low_", "high_")], ends, name)
    entropy, kl = -(log_p.exp() * log_p).sum(1), divergence(whole, logits)
    for name, values in (("entropy", entropy), ("kl", kl)):
        ends = [row[f"{kind}{name}_{end}nats"] for end in ("", "low_", "high_")]
        case.near(ends, student(values), name, times=3, least=1)


# ---- append


class Appended(nn.Module):
    """3×3 convolution, batch norm, ReLU, convolution, batch norm, behind the last state."""

    def __init__(self, channels: int, blocks: int, residual: bool, generator) -> None:
        super().__init__()
        self.residual = residual
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2 * blocks)
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(channels, track_running_stats=False) for _ in range(2 * blocks)
        )
        with torch.no_grad():
            for place, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
                drawn = torch.randn(conv.weight.shape, generator=generator)
                conv.weight = nn.Parameter(drawn.double() * (2 / (9 * channels)) ** 0.5)
                if residual and place % 2:
                    norm.weight.zero_()
        self.double()

    def forward(self, h: Tensor) -> Tensor:
        parts = list(zip(self.convs, self.norms, strict=True))
        for place in range(0, len(parts), 2):
            (one, first), (other, second) = parts[place : place + 2]
            given = h.relu() if place and not self.residual else h
            made = second(other(first(one(given)).relu()))
            h = h + made if self.residual else made
        return h


def trained(loss_of, parts, rate: float, steps: int) -> list[float]:
    """The loss before each step of Adam, and behind the last one."""
    optimizer, found = torch.optim.Adam(parts, lr=rate), []
    for _ in range(steps + 1):
        loss = loss_of()
        found.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return found


def append(case: Case) -> None:
    (x, y), plain, steps = case.some(), case.plain, 3
    blocks = case.pick.randint(1, 2)
    table = case.ask("append", x, y, blocks=blocks, steps=steps, draws=1).table
    trace = plain.run(x)

    def told(kind: str, name: str) -> np.ndarray:
        rows = table[(table["kind"] == kind) & (table["quantity"] == name)]
        assert list(rows["step"]) == list(range(len(rows)))
        return rows["value"].to_numpy()

    def new(kind: str) -> tuple[Appended, nn.Module]:
        channels = trace.h.shape[1]
        with torch.random.fork_rng():
            made = Appended(channels, blocks, kind == "residual", generator_for(0, "append", 1))
        ends = nn.ModuleList([plain.net.norm, plain.net.head])
        return made, copy.deepcopy(ends).requires_grad_()

    whole = float(losses(trace.logits, y).mean())
    wrong = 100 * float((trace.logits.argmax(1) != y).double().mean())
    case.near([*told("whole", "loss"), *told("whole", "error_pct")], [whole, wrong])
    case.near([told("residual", "loss")[0], told("residual", "error_pct")[0]], [whole, wrong])
    assert told("residual", "identity_error").tolist() == [0.0]
    assert told("residual", "logit_change").item() == 0
    for kind in ("residual", "plain"):
        net, ends = new(kind)
        change = (plain.head(net(trace.h)) - trace.logits).abs().max()
        case.near(told(kind, "logit_change"), [change.detach()], kind)
        parts = [*net.parameters(), *ends.parameters()]
        history = trained(
            lambda net=net, ends=ends: losses(
                ends[1](plain.pooled(net(trace.h), ends[0])), y
            ).mean(),
            parts, 0.001, steps,
        )  # fmt: skip
        case.near(told(kind, "loss"), history, kind, times=50)
    net, _ = new("plain")
    away = trained(
        lambda: (net(trace.h) - trace.h).square().mean() / trace.h.var(),
        net.parameters(), 0.01, steps,
    )  # fmt: skip
    case.near(told("plain", "identity_error"), away, times=50)


CHECKS = {check.__name__: check for check in (responses, lens, append)}
