"""Other answers than one class an image: judged as plain torch, sklearn and enumeration do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F
from toy_chains import TinyPlain, TinyResNet, images, seeded

import resnet_probe as rp
from resnet_probe import ProbeError, chain_of, layers_of
from resnet_probe.engine import task
from resnet_probe.engine.task import IGNORED, asked, loss_gradient, losses, margins, right
from resnet_probe.runs.compatible import answers
from resnet_probe.state import Inputs
from resnet_probe.studies import scores
from resnet_probe.studies.checks import _tokens
from resnet_probe.studies.outcomes import all_finite

X = images(12, side=8)


def net(change, classes=5):
    class Net(TinyResNet):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(8, classes)

        def forward(self, x):
            return change(super().forward(x))

    return seeded(Net)


class Pixels(TinyResNet):
    def forward(self, x):
        x = self.stem(x).relu_()
        for block in self.blocks:
            x = block(x)
        return F.conv2d(x, self.head.weight[:, :, None, None], self.head.bias)


def drawn(shape, most, seed=0):
    return torch.randint(most, shape, generator=torch.Generator().manual_seed(seed))


def outputs(chain, x=X):
    """Of the whole network and without each of its blocks."""
    with torch.no_grad():
        for gone in range(len(chain) + 1):
            yield chain.run(x, [(b.number, float(b.number != gone)) for b in chain])


BITS = drawn((12, 3), 2, seed=4)
PIXELS = torch.where(drawn((12, 4, 4), 9, seed=2) == 0, IGNORED, drawn((12, 4, 4), 5))
CASES = {
    "single logit": (net(lambda z: z, 1), BITS[:, 0]),
    "single logit without an axis": (net(lambda z: z[:, 0]), BITS[:, 0].double()),
    "labels": (net(lambda z: z, 3), BITS.float()),
    "pixels": (seeded(Pixels), PIXELS),
    "tokens": (net(lambda z: z[:, None] * torch.tensor([[[1.0], [-1.0]]])), drawn((12, 2), 5)),
    "numbers": (
        net(lambda z: z, 2),
        torch.randn(12, 2, generator=torch.Generator().manual_seed(3)),
    ),
    "one number": (net(lambda z: z[:, 0]), torch.arange(12.0)),
}


def expected(kind, z, y):
    """(loss, share that is right) of each image, by torch's own losses."""
    if "number" in kind:
        square = (z - y).square().reshape(12, -1).mean(1)
        return square, 1 - square / y.double().var(0, correction=0).mean()
    if kind.startswith(("single", "labels")):
        z, y = z.reshape(12, -1), y.reshape(12, -1).float()
        loss = F.binary_cross_entropy_with_logits(z, y, reduction="none").mean(1)
        return loss, ((z > 0) == (y > 0)).double().mean(1)
    z = z if kind == "pixels" else z.transpose(1, 2)
    known = y != IGNORED
    loss = F.cross_entropy(z, y, reduction="none").flatten(1).sum(1) / known.flatten(1).sum(1)
    return loss, (z.argmax(1) == y).flatten(1).sum(1) / known.flatten(1).sum(1)


@pytest.mark.parametrize("kind", CASES)
def test_lesions_are_judged_as_torch_judges_them(kind):
    model, y = CASES[kind]
    chain = chain_of(model, X)
    table = rp.lesion(chain, X, y, exact=True).table
    found = [expected(kind, z, y) for z in outputs(chain)]
    base_loss, base_share = found[0]
    for row, (loss, share) in zip(table.itertuples(), found, strict=True):
        assert row.loss == pytest.approx(float(loss.mean()), rel=1e-5)
        assert row.error_pct == pytest.approx(100 * (1 - float(share.mean())), abs=1e-4)
        assert row.delta_loss == pytest.approx(float((loss - base_loss).mean()), abs=1e-5)
        assert row.delta_pct == pytest.approx(100 * float((base_share - share).mean()), abs=1e-4)
        change = 100 * (base_share - share).numpy()
        if not kind.startswith("single") and np.ptp(change) > 1e-6:
            test = scipy_stats.ttest_1samp(change, 0)
            assert row.p_value == pytest.approx(test.pvalue, rel=1e-3)
            assert row.delta_low_pct == pytest.approx(test.confidence_interval().low, abs=1e-3)


@pytest.mark.parametrize("kind", CASES)
def test_the_gradient_of_the_losses_is_autograds(kind):
    model, y = CASES[kind]
    chain = chain_of(model, X)
    fitted = asked(chain, y if y.is_floating_point() else y.long())
    logits = fitted.chain(X).double().detach().requires_grad_()
    loss = losses(logits, fitted.labels)
    torch.testing.assert_close(
        loss.detach(), expected(kind, chain(X), y)[0].double(), rtol=1e-4, atol=1e-6
    )
    wanted = torch.autograd.grad(loss.sum(), logits)[0]
    torch.testing.assert_close(loss_gradient(logits.detach(), fitted.labels), wanted)


@pytest.mark.parametrize("kind", ["labels", "pixels", "numbers"])
def test_gradients_of_all_path_lengths_add_up_to_autograds(kind):
    model, y = CASES[kind]
    chain = chain_of(model, X)
    x = X.clone().requires_grad_()
    wanted = torch.autograd.grad(expected(kind, chain(x), y)[0].sum(), x)[0]
    torch.testing.assert_close(rp.path_gradients(chain, X, y).sum(0), wanted, rtol=1e-3, atol=1e-6)
    assert len(rp.responses(chain, X, y).table)


def test_right_answers_and_margins_leave_out_what_is_ignored():
    logits = torch.tensor([[[2.0, 0, 1], [0, 3, 1]], [[1, 0, 5], [0, 0, 1]]])
    labels = torch.tensor([[0, 2], [2, IGNORED]])
    assert right(logits, labels).tolist() == [0.5, 1.0]
    assert margins(logits, labels).tolist() == [(1 - 2) / 2, 4.0]


def brute(value, seen):
    """Pseudo-values by leaving out every image."""
    n = next(iter(seen.values())).shape[-1]
    without = [value(np.arange(n) != i) for i in range(n)]
    return n * value(np.ones(n, bool)) - (n - 1) * np.array(without)


def test_the_area_under_the_curve_is_sklearns_and_its_pseudo_values_leave_one_out():
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, (2, 30))
    lead = np.round(random.normal(size=(2, 30)) + truth, 1)  # with ties

    def area(kept):
        return np.mean([roc_auc_score(t[kept], s[kept]) for t, s in zip(truth, lead, strict=True)])

    value, pseudo = scores._auc(truth, {"lead": lead})
    assert value == pytest.approx(area(np.ones(30, bool)))
    np.testing.assert_allclose(pseudo, brute(area, {"lead": lead}))


def test_intersection_over_union_by_enumeration():
    y = drawn((12, 4, 4), 4)  # of five classes the last is in no label
    chain = chain_of(seeded(Pixels), X)
    table = rp.lesion(chain, X, y, metric="iou", exact=True).table
    for row, z in zip(table.itertuples(), outputs(chain), strict=True):
        answer = z.argmax(1)

        def iou(kept, answer=answer):
            a, b = answer[torch.from_numpy(kept)], y[torch.from_numpy(kept)]
            classes = [
                (((a == c) & (b == c)).sum() / ((a == c) | (b == c)).sum()) for c in range(4)
            ]
            return float(np.mean(classes))

        assert row.error_pct == pytest.approx(100 * (1 - iou(np.ones(12, bool))), abs=1e-4)
        pseudo = brute(iou, {"x": np.zeros(12)})
        low, high = scipy_stats.t.interval(0.95, 11, pseudo.mean(), scipy_stats.sem(pseudo))
        assert row.ci_low_pct == pytest.approx(100 * (1 - high), abs=1e-3)
        assert row.ci_high_pct == pytest.approx(100 * (1 - low), abs=1e-3)


def test_a_metric_of_ones_own():
    model, y = CASES["labels"]
    chain = chain_of(model, X)

    def all_right(logits, labels):
        return (logits.argmax(2) == labels).all(1)

    result = rp.lesion(chain, X, y, metric=all_right, exact=True)
    shares = [(((z > 0) == (y > 0)).all(1)).double().mean() for z in outputs(chain)]
    assert result.table.error_pct.tolist() == pytest.approx([100 * (1 - float(s)) for s in shares])
    assert result.identity["metric"].endswith("all_right")
    with pytest.raises(ProbeError, match="numbers outside 0"):
        rp.lesion(chain, X, y, metric=lambda z, t: losses(z, t) + 2)
    with pytest.raises(ProbeError, match=r"gives \(\) for 12 images"):
        rp.lesion(chain, X, y, metric=lambda z, t: losses(z, t).mean())


@pytest.mark.parametrize(
    ("kind", "labels", "said"),
    [
        ("single logit", torch.arange(12) % 3, "label 2 of image 2 is neither 0 nor 1"),
        ("labels", torch.eye(3)[torch.arange(12) % 3], r"one-hot rows give labels.argmax\(1\)"),
        ("labels", torch.full((12, 3), 1 / 3), "add up to 1 an image"),
        ("labels", torch.zeros(12, 2), r"labels \[n, 2\] do not fit"),
        ("pixels", torch.zeros(12, dtype=torch.long), r"gives logits \[n, 5, 4, 4\], and labels"),
        ("pixels", torch.full((12, 4, 4), 7), "label 7 of image 0, position 0, is outside"),
        ("pixels", torch.full((12, 4, 4), IGNORED), "all labels of image 0 are -100"),
        ("numbers", torch.full((12, 2), torch.nan), "labels hold NaN"),
        ("numbers", torch.arange(12.0), "labels hold fractions|outside"),
    ],
)
def test_labels_that_do_not_fit_are_refused(kind, labels, said):
    chain = chain_of(CASES[kind][0], X)
    with pytest.raises(ProbeError, match=said):
        rp.lesion(chain, X, labels)


def test_what_a_metric_or_a_study_has_no_use_for_is_refused_by_name():
    pixels, y = CASES["pixels"]
    chain = chain_of(pixels, X)
    with pytest.raises(ProbeError, match="there is no metric='dice'"):
        rp.lesion(chain, X, y, metric="dice")
    with pytest.raises(ProbeError, match=r"auc.*tells 5 classes apart"):
        rp.lesion(chain, X, y, metric="auc")
    with pytest.raises(ProbeError, match="metric='mse' is of numbers"):
        rp.lesion(chain, X, y, metric="mse")
    with pytest.raises(ProbeError, match="precision= counts images"):
        rp.lesion(chain, X, y, precision=20.0)
    numbers, t = CASES["numbers"]
    with pytest.raises(ProbeError, match="agreement needs one class an image or a class at each"):
        rp.agreement(chain_of(numbers, X), X, t)
    with pytest.raises(ProbeError, match="of classes: numbers have metric='mse'"):
        rp.lesion(chain_of(numbers, X), X, t, metric="accuracy")


def test_labels_that_repeat_the_tokens_are_those_of_the_next():
    tokens = drawn((3, 6), 9)
    some = torch.where(torch.arange(6) < 2, IGNORED, tokens)  # a prompt that counts for nothing
    for labels in (tokens, some):
        moved, said = rp.engine.task.next_tokens(labels, tokens)
        assert (
            torch.equal(moved[:, :-1], labels[:, 1:]) and (moved[:, -1] == IGNORED).all() and said
        )
        assert torch.equal(rp.engine.task.next_tokens(moved, tokens)[0], moved)  # only once
    masked = torch.where(torch.arange(6) == 3, (tokens + 1) % 9, IGNORED)
    assert torch.equal(rp.engine.task.next_tokens(masked, tokens)[0], masked)


def test_the_intervals_of_areas_hold_what_they_promise():
    """Two classifiers of one truth: the paired interval of the difference of their areas."""
    random, inside = np.random.default_rng(1), []
    wanted = scipy_stats.norm.cdf(1.2 / 2**0.5) - scipy_stats.norm.cdf(0.6 / 2**0.5)
    for _ in range(200):
        truth = (np.arange(80) % 3 == 0).astype(int)[None]
        noise = random.normal(size=(3, 1, 80))
        both = [m * truth + 0.8 * noise[0] + 0.6 * noise[i] for i, m in ((1, 1.2), (2, 0.6))]
        pseudo = [scores._auc(truth, {"lead": lead})[1] for lead in both]
        change = pseudo[0] - pseudo[1]
        low, high = scipy_stats.t.interval(0.95, 79, change.mean(), scipy_stats.sem(change))
        inside.append(low <= wanted <= high)
    assert 0.905 <= np.mean(inside) <= 0.985


@pytest.fixture(scope="module")
def language_model():
    transformers = pytest.importorskip("transformers")
    sizes = {"n_layer": 2, "n_embd": 8, "n_head": 2, "vocab_size": 20, "n_positions": 16}
    config = transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        return chain_of(model, {"input_ids": drawn((2, 7), 20)})


def of_texts(logits, labels):
    """Mean cross-entropy of the next tokens of each text, in plain torch."""
    each = F.cross_entropy(logits[:, :-1].mT, labels[:, 1:], reduction="none")
    known = labels[:, 1:] != IGNORED
    return ((each * known).sum(1) / known.sum(1)).numpy()


@pytest.mark.parametrize("length", [7, 9])
def test_tokens_of_a_language_model_are_predicted_from_those_before(language_model, length):
    texts = drawn((6, length), 20)
    labels = texts.clone()
    labels[0, 5:] = IGNORED
    table = rp.lesion(language_model, {"input_ids": texts}, labels).table
    for same in (texts, (texts,)):
        assert rp.lesion(language_model, same, labels).table.equals(table)
    found = [of_texts(logits, labels) for logits in outputs(language_model, texts)]
    assert len(table) == len(found) == 5
    assert table["ci_low_pct"].min() >= 0 and table["ci_high_pct"].max() == 100  # not beyond
    for row, losses_of_texts in zip(table.itertuples(), found, strict=True):
        assert row.loss == pytest.approx(losses_of_texts.mean(), rel=1e-5)
        assert row.perplexity == pytest.approx(np.exp(losses_of_texts.mean()), rel=1e-5)
        change = losses_of_texts - found[0]
        error = change.std(ddof=1) / len(texts) ** 0.5
        if row.Index:
            ends = scipy_stats.t.interval(0.95, len(texts) - 1, change.mean(), error)
            assert (row.delta_loss_low, row.delta_loss_high) == pytest.approx(ends, abs=1e-6)


def test_the_tokens_are_found_wherever_they_stand_among_the_inputs():
    texts = drawn((3, 5), 20)
    given = Inputs.of({"attention_mask": torch.ones_like(texts), "input_ids": texts})
    assert _tokens(given) is texts
    assert _tokens(X) is None


def test_a_report_says_which_studies_can_measure_a_network(language_model):
    assert not any(dict(answers(chain_of(seeded(TinyResNet), X), X)).values())
    reasons = dict(answers(chain_of(seeded(Pixels), X), X))
    assert not any(reasons.values())
    reasons = dict(answers(language_model, Inputs.of({"input_ids": drawn((2, 7), 20)})))
    assert [name for name in reasons if reasons[name]] == ["append"]
    assert "has to be channels×height×width: in" in reasons["append"]
    alone = dict(answers(layers_of(seeded(TinyPlain), X), X))
    assert [name for name in alone if "plain network" in alone[name]] == [
        "control",
        "gates",
        "paths",
    ]


def test_losses_and_answers_over_a_vocabulary_are_those_of_plain_torch(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 7, 11, generator=generator).round(decimals=1)
    labels = torch.randint(11, (3, 7), generator=generator)
    labels[0, :3] = task.IGNORED
    best = logits.amax(-1, keepdim=True)
    logits[1].scatter_(1, labels[1, :, None], best[1])  # right, and some beside an equal one
    logits[2, :4] = 0.0
    wanted = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    monkeypatch.setattr(task, "ROOM", 25)
    with torch.inference_mode():
        given = logits.clone()
        assert torch.equal(task.losses(given, labels), task.over_positions(wanted, labels))
        same = (task.predicted(logits) == labels).double()
        assert torch.equal(task.right(given, labels), task.over_positions(same, labels))
    for bad in (torch.nan, torch.inf, -torch.inf):
        assert not all_finite(torch.tensor([1.0, bad, 2.0])) and all_finite(logits)
