"""Networks of tokens: every study against plain torch, on a model of our own and transformers'."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from scipy import stats as scipy_stats
from small_language import LENGTH, SmallGPT, next_token_loss, tokens
from toy_chains import seeded

import resnet_probe as rp
import resnet_probe.data
from resnet_probe import ProbeError, chain_of, figures, findings
from resnet_probe.engine.memory import held_for_gradients
from resnet_probe.runs.catalogue import ROWS
from resnet_probe.runs.catalogue import row as row_of
from resnet_probe.runs.compatible import answers
from resnet_probe.runs.job import announcement
from resnet_probe.studies.gates import _slopes, slopes
from resnet_probe.studies.greedy import halves, influences
from resnet_probe.studies.study import Resources, Run

IDS = tokens(6)
PROMPT = torch.where(torch.arange(LENGTH) < 3, -100, IDS)  # what is given counts for nothing
RAGGED = torch.where(torch.arange(LENGTH) < torch.tensor([9, 4, 9, 6, 9, 8])[:, None], IDS, -100)
N = 4
ALWAYS = ("gpt2", "vit")
CAUSAL = ("gpt2", "llama", "bloom")
IMAGES = ("vit", "resnet", "swin", "convnext")


def of(*kinds):
    return [pytest.param(k, marks=() if k in ALWAYS else pytest.mark.campaign) for k in kinds]


@pytest.fixture(scope="module")
def model():
    return seeded(SmallGPT).eval()


@pytest.fixture(scope="module")
def chain(model):
    return chain_of(model, IDS[:2])


def gates(*gone):
    return [0.0 if block in gone else 1.0 for block in range(1, N + 1)]


def right_of(logits, labels):
    known = labels[:, 1:] != -100
    return ((logits[:, :-1].argmax(2) == labels[:, 1:]) & known).sum(1) / known.sum(1)


@pytest.mark.parametrize("labels", [IDS, PROMPT], ids=["all", "behind a prompt"])
def test_deletions_are_judged_by_the_next_token(model, chain, labels):
    table = rp.lesion(chain, IDS, labels, exact=True).table
    with torch.no_grad():
        found = [model.behind(model.embedded(IDS), gates(b)) for b in range(N + 1)]
    losses = [next_token_loss(z, labels) for z in found]
    right = [right_of(z, labels).double() for z in found]
    for row, loss, share in zip(table.itertuples(), losses, right, strict=True):
        assert row.loss == pytest.approx(float(loss.mean()), rel=1e-5)
        assert row.perplexity == pytest.approx(float(loss.mean().exp()), rel=1e-5)
        assert row.error_pct == pytest.approx(100 * (1 - float(share.mean())), abs=1e-4)
        ends = scipy_stats.t.interval(0.95, 5, loss.mean(), scipy_stats.sem(loss))
        assert row.perplexity_low == pytest.approx(float(np.exp(ends[0])), rel=1e-4)
        assert row.perplexity_high == pytest.approx(float(np.exp(ends[1])), rel=1e-4)


def test_labels_that_are_shifted_already_are_the_same(chain):
    shifted = torch.cat([IDS[:, 1:], torch.full((6, 1), -100)], dim=1)
    tables = [rp.lesion(chain, IDS, y, exact=True).table for y in (IDS, shifted)]
    assert tables[0].equals(tables[1])


def test_path_gradients_are_those_at_the_embeddings(model, chain):
    h = model.embedded(IDS).detach().requires_grad_()
    wanted = torch.autograd.grad(next_token_loss(model.behind(h), PROMPT).sum(), h)[0]
    found = rp.path_gradients(chain, IDS, PROMPT, precision="float64")
    assert found.shape == (N + 1, *h.shape)
    torch.testing.assert_close(found.sum(0).float(), wanted, rtol=1e-4, atol=1e-7)
    result = rp.paths(chain, IDS, PROMPT, method="exact")
    assert result.identity["at"] == "stem" and result.provenance["sum_error_max"] < 1e-5


def test_the_lens_by_depth(model, chain):
    table = rp.lens(chain, IDS, IDS).table
    with torch.no_grad():
        whole = model(IDS).log_softmax(-1)[:, :-1]
        for depth, row in enumerate(table.itertuples()):
            gone = [b for b in range(1, N + 1) if b > depth]
            here = model.behind(model.embedded(IDS), gates(*gone)).log_softmax(-1)[:, :-1]
            kl = (whole.exp() * (whole - here)).sum(-1).mean()
            assert row.kl_nats == pytest.approx(float(kl), abs=1e-6)
            agree = (here.argmax(-1) == whole.argmax(-1)).double().mean()
            assert row.agreement_pct == pytest.approx(100 * float(agree))


def test_responses_and_shares_of_blocks(model, chain):
    found = rp.responses(chain, IDS, IDS).table
    ratio = found[found.quantity == "ratio"].value
    with torch.no_grad():
        h = model.embedded(IDS)
        branch = model.attention[0](h)
        wanted = (branch.flatten(1).norm(dim=1) / h.flatten(1).norm(dim=1)).mean()
    assert ratio.iloc[0] == pytest.approx(float(wanted), rel=1e-5)
    table = rp.attribute(chain, IDS, IDS, exact=True).table
    rows = table[(table.method == "shapley") & (table.metric == "loss")]
    with torch.no_grad():
        ends = [next_token_loss(model.behind(model.embedded(IDS), g), IDS).mean() for g in
                (gates(), gates(1, 2, 3, 4))]  # fmt: skip
    assert rows.value.sum() == pytest.approx(float(ends[0] - ends[1]), abs=1e-5)
    assert table["class"].isna().all()


def test_networks_without_a_block_agree_on_tokens(model, chain):
    """Each text counts alike, whatever it has of known tokens."""
    table = rp.agreement(chain, IDS, RAGGED, counts=(1,)).table
    known = RAGGED[:, 1:] != -100
    share = known.double() / known.sum(1, keepdim=True)
    with torch.no_grad():
        logits = [model.behind(model.embedded(IDS), gates(b))[:, :-1] for b in range(N + 1)]
    answers = torch.stack([z.argmax(-1) for z in logits])
    wrong = (answers != RAGGED[:, 1:]).double()
    rows = table[table.kind == "lesioned"].set_index("quantity").value
    each = 100 * (wrong * share).sum(2)
    assert rows["error_pct"] == pytest.approx(float(each[1:].mean()))
    chance = torch.stack(logits[1:]).double().softmax(-1)
    averaged = (chance.mean(0).argmax(-1) != RAGGED[:, 1:]).double() * share
    assert rows["averaged_error_pct"] == pytest.approx(100 * float(averaged.sum(1).mean()))
    apart = ((chance - chance.mean(0)).square().sum(-1).mean(0) * share).sum(1).mean()
    assert rows["ambiguity"] == pytest.approx(float(apart), rel=1e-5)
    pair = table[(table.kind == "pair") & (table.quantity == "disagreement_pct")].iloc[0]
    differ = ((answers[1] != answers[2]) * share).sum(1).mean()
    assert (pair.block, pair.other) == (1, 2)
    assert pair.value == pytest.approx(100 * float(differ))
    whole = table[table.kind == "whole"].iloc[0]
    ends = scipy_stats.t.interval(0.95, 5, each[0].mean(), scipy_stats.sem(each[0]))
    ends = np.clip(ends, 0, 100).tolist()  # no share is larger
    assert [whole.ci_low, whole.ci_high] == pytest.approx(ends) and whole.images == 6


def test_moves_of_a_deletions_size_are_judged_by_tokens(model, chain):
    table = rp.control(chain, IDS, PROMPT, controls=("sign",)).table
    with torch.no_grad():
        for block in range(1, N + 1):
            several = gates(block), [-1.0 if b == block else 1.0 for b in range(1, N + 1)]
            shares = [
                right_of(model.behind(model.embedded(IDS), each), PROMPT).double()
                for each in several
            ]
            row = table[(table.kind == "sign") & (table.block == str(block))].iloc[0]
            more = 100 * (shares[0] - shares[1])
            assert row.error_pct == pytest.approx(100 * (1 - float(shares[1].mean())), abs=1e-4)
            assert row.beside_deletion_pct == pytest.approx(float(more.mean()), abs=1e-4)
            if more.std() > 0:
                ends = scipy_stats.t.interval(0.95, 5, more.mean(), scipy_stats.sem(more))
                assert row.beside_deletion_low_pct == pytest.approx(ends[0], abs=1e-3)


def test_influences_interactions_and_flow_of_tokens(model, chain):
    influence = rp.influence(chain, IDS, IDS).table.iloc[0]
    variance = rp.interactions(chain, IDS, IDS, keep=(0.5,)).table
    flow = rp.flow(chain, IDS, IDS).table
    with torch.no_grad():
        h = model.embedded(IDS)
        attention, mlp = model.attention[0], model.mlp[0]
        own, changed = mlp(h + attention(h)), mlp(h)
        sizes = [each.flatten(1).norm(dim=1) for each in (changed - own, own)]
        subsets = list(product((0.0, 1.0), repeat=N))
        loss = torch.stack([next_token_loss(model.behind(h, g), IDS) for g in subsets]).double()
    assert (influence.block, influence.on) == (1, 2)
    assert influence.value == pytest.approx(float((sizes[0] / sizes[1]).mean()), rel=1e-5)
    signs = 2 * torch.tensor(subsets, dtype=torch.float64) - 1
    single = (signs.T @ loss / len(loss)).square().sum()
    total = (loss - loss.mean(0)).square().mean(0).sum()
    assert variance.value.iloc[0] == pytest.approx(100 * float(single / total), rel=1e-3)
    for quantity in ("state_share", "logit_share"):
        share = flow.value[flow.quantity == quantity]
        assert share.sum() == pytest.approx(1)
    assert share.iloc[-1] != 0 and abs(flow.value[flow.quantity == "state_share"].iloc[-1]) < 1e-5


@torch.no_grad()
def plain_greedy(loss, blocks, rows, most):
    """The blocks that go one after another, and the loss behind each, on these rows alone."""
    gone, found, left = [], [], list(blocks)
    while len(gone) < most:
        costs = [float(loss([*gone, block])[rows].mean()) for block in left]
        found.append(min(costs))
        gone.append(left.pop(int(np.argmin(costs))))
    return gone, found


def check_greedy(result, loss, share, blocks):
    """Against losses and right shares `[n]` of the model without the blocks of a list."""
    table, (chosen, judged) = result.table, halves(6, 0)
    gone, _ = plain_greedy(loss, blocks, chosen, len(blocks))
    assert table.block[table.kind == "greedy"].tolist() == gone
    alone = [float(loss([block])[chosen].mean()) for block in blocks]
    assert result.provenance["single_loss"] == pytest.approx(alone, rel=1e-5)
    for row in table.itertuples():
        without = [int(block) for block in row.blocks.split()]
        assert row.loss == pytest.approx(float(loss(without)[judged].mean()), rel=1e-5)
        wrong = 100 * (1 - share(without).double())
        assert row.error_pct == pytest.approx(float(wrong[judged].mean()), abs=1e-4)
        if row.kind == "greedy":
            assert row.chosen_error_pct == pytest.approx(float(wrong[chosen].mean()), abs=1e-4)


@torch.no_grad()
def test_blocks_go_one_after_another_by_the_loss_of_half_the_texts(model, chain):
    result = rp.greedy(chain, IDS, RAGGED)

    def logits(gone):
        return model.behind(model.embedded(IDS), gates(*gone))

    check_greedy(result, lambda gone: next_token_loss(logits(gone), RAGGED),
                 lambda gone: right_of(logits(gone), RAGGED), range(1, N + 1))  # fmt: skip
    chosen, judged = halves(6, 0)
    assert result.table.images.eq(len(judged)).all() and result.provenance["metric"] == "accuracy"
    h, turned = model.embedded(IDS[chosen]), []
    for branch in (part for pair in zip(model.attention, model.mlp, strict=True) for part in pair):
        before, h = h, h + branch(h)
        turned.append(float((1 - torch.cosine_similarity(before, h, dim=-1)).mean()))  # tokens
    assert influences(chain, IDS[chosen], Run()) == pytest.approx(np.array(turned), rel=1e-4)
    order = [int(block) + 1 for block in np.argsort(turned)]
    assert result.table.block[result.table.kind == "block influence"].tolist() == order
    values = rp.responses(chain, IDS[chosen], RAGGED[chosen]).table.set_index("quantity").value
    assert values["block_influence"].to_numpy() == pytest.approx(np.array(turned), rel=1e-4)


def test_gates_of_branches_and_what_their_gradient_foretells_of_texts(model, chain):
    result = rp.gates(chain, IDS, PROMPT, gates=(0, 0.5, 2), batch=4)
    some = torch.ones(6, N, requires_grad=True)
    logits = model.behind(model.embedded(IDS), list(some.T[..., None, None]))
    slope = torch.autograd.grad(next_token_loss(logits, PROMPT).sum(), some)[0]
    np.testing.assert_allclose(result.outcomes["slope"], slope.T, rtol=1e-3, atol=1e-6)
    with torch.no_grad():
        whole = next_token_loss(model(IDS), PROMPT)
        for row in result.table.iloc[1:].itertuples():
            at = [row.gate if b == int(row.block) else 1.0 for b in range(1, N + 1)]
            z = model.behind(model.embedded(IDS), at)
            change = next_token_loss(z, PROMPT) - whole
            ends = scipy_stats.t.interval(0.95, 5, change.mean(), scipy_stats.sem(change))
            found = (row.delta_loss_low, row.delta_loss, row.delta_loss_high)
            assert found == pytest.approx((ends[0], float(change.mean()), ends[1]), abs=1e-5)
            line = (row.gate - 1) * float(slope[:, int(row.block) - 1].mean())
            assert row.foretold_loss == pytest.approx(line, rel=1e-3, abs=1e-7)
            wrong = 100 * (1 - right_of(z, PROMPT).double().mean())
            assert row.error_pct == pytest.approx(float(wrong), abs=1e-4)


def test_gradients_of_gates_take_the_room_that_a_vocabulary_needs(model, chain):
    held = []
    for words in (1, 1000):  # a head of so many times the words
        head = torch.nn.Sequential(chain.head, Repeated(words))
        wide = replace(chain, head=head, classes=words * 23)
        held.append(held_for_gradients(wide, lambda wide=wide: _slopes(wide, IDS[:1], IDS[:1], 0)))
    logits = 8 * LENGTH * 23 * 999  # float64
    assert logits <= held[1] - held[0] < 4 * logits
    with pytest.raises(ProbeError, match=r"memory budget of 3.0 MiB is too small for one image"):
        slopes(wide, IDS, IDS, Run(Resources(memory=3 * 2**20)))


class Repeated(torch.nn.Module):
    def __init__(self, times):
        super().__init__()
        self.times = times

    def forward(self, z):
        return z.repeat(1, 1, self.times)


def test_sentences_and_figures_speak_of_texts(model, chain):
    results = [rp.lesion(chain, IDS, IDS), rp.lens(chain, IDS, IDS), rp.responses(chain, IDS, IDS),
               rp.interactions(chain, IDS, IDS, keep=(0.5,)), rp.greedy(chain, IDS, IDS),
               rp.gates(chain, IDS, IDS, gates=(0, 2))]  # fmt: skip
    shown = [row_of(result.study).summarize(result) for result in results]
    shown += [str(findings.single_deletions(results[0]).sentence),
              str(findings.additive(results[3]).sentence)]  # fmt: skip
    for place in (1, 4, 5):
        figure = figures.draw(results[place])
        shown.append(" ".join(text.get_text() for text in figure.findobj(Text)))
    assert not any("image" in each for each in shown), shown
    assert (
        "6 texts" in shown[0] and "on 6 texts" in shown[3] and "% of the positions have" in shown[1]
    )
    assert any("% of the variance of its loss (" in each for each in shown)
    ready = rp.prepare(model, data=IDS)
    assert "6 texts of 9" in repr(ready) and "6 texts of Tensor" in announcement(ready)


def test_what_has_no_use_for_tokens_says_so(chain):
    with pytest.raises(ProbeError, match="'logits' is of one class an image: give"):
        rp.interactions(chain, IDS, IDS, what="logits")
    with pytest.raises(ProbeError, match=r"append puts .* in SmallGPT it is 9×8 \(tokens×width\)"):
        rp.append(chain, IDS, IDS)
    with pytest.raises(ProbeError, match=r"one half of the texts .* at least 4, found 3"):
        rp.greedy(chain, IDS[:3], IDS[:3])
    with pytest.raises(ProbeError, match="others= needs one class an image"):
        rp.agreement(chain, IDS, IDS, others=[chain])
    with pytest.raises(ProbeError, match=r"networks for one image, 9 positions of 23 .*memory="):
        rp.agreement(chain, IDS, IDS, memory=1024)
    with pytest.raises(ProbeError, match="takes tokens, whole numbers, and got fractions"):
        rp.lesion(chain, IDS.float() / 2, IDS)
    with pytest.raises(ProbeError, match=r"gives logits \[n, 9, 23\], and labels \[n\]"):
        rp.lesion(chain, IDS, IDS[:, 0])


def configuration(kind):
    """A small one of that architecture, of the transformers library."""
    import transformers

    transformers.logging.set_verbosity_error()
    ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0)
    two = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8}
    words = {"vocab_size": 23, "n_layer": 2, "n_head": 2, **ends}
    stages = {"depths": [2, 2], "num_labels": 5}
    made = {
        "gpt2": ("GPT2Config", {"n_positions": 16, "n_embd": 8, **words}),
        "llama": ("LlamaConfig", {"vocab_size": 23, "intermediate_size": 16, **two, **ends}),
        "bloom": ("BloomConfig", {"hidden_size": 8, **words}),
        "resnet": ("ResNetConfig", {
            "embedding_size": 4, "hidden_sizes": [4, 8], "layer_type": "basic", **stages}),
        "vit": ("ViTConfig", {
            "intermediate_size": 16, "image_size": 16, "patch_size": 4, "num_labels": 5, **two}),
        "swin": ("SwinConfig", {
            "image_size": 16, "patch_size": 2, "embed_dim": 8, "num_heads": [2, 2],
            "window_size": 4, **stages}),
        "convnext": ("ConvNextConfig", {
            "num_stages": 2, "hidden_sizes": [4, 8], "patch_size": 2, "image_size": 16, **stages}),
    }  # fmt: skip
    name, options = made[kind]
    return getattr(transformers, name)(**options)


def drawn(auto, kind):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return auto.from_config(configuration(kind)).eval()


def library(kind, pytestconfig):
    """transformers; a test takes seconds, so that one of each form is run without being asked."""
    if kind not in ALWAYS and not pytestconfig.getoption("--campaign-size"):
        pytest.skip("another architecture: with --campaign-size")
    return pytest.importorskip("transformers")


MASK = (torch.arange(LENGTH) < torch.tensor([9, 7, 9, 5, 9, 9])[:, None]).long()
MASKED = IDS.masked_fill(MASK == 0, -100)
LAST = {
    "gpt2": ("attn.c_proj", "mlp.c_proj"),
    "llama": ("self_attn.o_proj", "mlp.down_proj"),
    "bloom": ("self_attention.dense", "mlp.dense_4h_to_h"),
}
"""The last module of each branch: what it gives is what is added."""


@cache
def causal(kind):
    """A language model of transformers, and what the first of two lines makes of it."""
    model = drawn(pytest.importorskip("transformers").AutoModelForCausalLM, kind)
    rows = [{"input_ids": IDS, "attention_mask": MASK, "labels": MASKED}]
    return model, rp.prepare(model, data=rows)


@torch.no_grad()
def scaled(model, kind, gate_of):
    """Logits with the branch of each block, by its number, times a gate: by forward hooks."""
    ends = [m for name, m in model.named_modules() if name.endswith(LAST[kind])]
    number = {id(end): place for place, end in enumerate(ends, start=1)}

    def hook(module, _, out):
        return gate_of(number[id(module)]) * out

    hooks = [end.register_forward_hook(hook) for end in ends]
    try:
        return model(input_ids=IDS, attention_mask=MASK).logits
    finally:
        for each in hooks:
            each.remove()


@pytest.mark.parametrize("kind", of(*CAUSAL))
def test_deletions_and_gates_are_those_of_forward_hooks(kind, pytestconfig):
    library(kind, pytestconfig)
    model, ready = causal(kind)

    def logits(gone):
        return scaled(model, kind, lambda number: float(number not in gone))

    check_greedy(rp.greedy(ready), lambda gone: next_token_loss(logits(gone), MASKED),
                 lambda gone: right_of(logits(gone), MASKED), range(1, 5))  # fmt: skip
    for row in rp.gates(ready, gates=(0, 0.5, 2)).table.itertuples():
        z = scaled(model, kind, lambda b, row=row: row.gate if str(b) == row.block else 1.0)
        assert row.loss == pytest.approx(float(next_token_loss(z, MASKED).mean()), rel=1e-5)


@pytest.mark.parametrize("kind", of(*CAUSAL))
def test_two_lines_measure_a_language_model_of_transformers(kind, pytestconfig):
    library(kind, pytestconfig)
    model, ready = causal(kind)
    labels = MASKED
    table = rp.lesion(ready, exact=True).table

    with torch.no_grad():
        logits = model(input_ids=IDS, attention_mask=MASK).logits
        assert torch.equal(ready.chain(ready.images), logits)
    assert table.loss[0] == pytest.approx(float(next_token_loss(logits, labels).mean()), rel=1e-5)
    assert len(table) == 5 and "the labels are the tokens" in " ".join(ready.remarks)
    result = rp.paths(ready, method="exact", precision="float64")
    assert result.provenance["sum_error_max"] < 1e-12
    can = {answer.study for answer in answers(ready.chain, ready.images[:2]) if not answer.reason}
    assert can == {row.name for row in ROWS} - {"append"}
    for name in can - {"lesion", "paths", "greedy", "gates", "attribute"}:
        assert len(getattr(rp, name)(ready).table)
    assert len(rp.attribute(ready, methods=["ablation", "gradients"]).table)


@pytest.mark.parametrize("kind", of(*IMAGES))
def test_two_lines_measure_an_image_classifier_of_transformers(kind, pytestconfig):
    transformers = library(kind, pytestconfig)
    model = drawn(transformers.AutoModelForImageClassification, kind)
    x = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    y = torch.arange(6) % 5

    ready = rp.prepare(model, data=(x, y))
    table = rp.lesion(ready, exact=True).table

    with torch.no_grad():
        right = (model(x).logits.argmax(1) == y).sum()
    assert table.correct[0] == int(right) and len(table) >= 5
    exact = rp.paths(ready, method="exact", precision="float64")
    assert exact.provenance["sum_error_max"] < 1e-12
    assert len(rp.responses(ready).table) and len(rp.lens(ready).table)
    assert len(rp.agreement(ready, counts=(1,)).table) and len(rp.control(ready).table)
    assert len(rp.attribute(ready, methods=["ablation"]).table)


def characters(text):
    return [ord(letter) % 23 for letter in text]


def test_a_text_in_a_file_becomes_rows_of_tokens(tmp_path, model):
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog " * 2)
    data = f"text:{tmp_path / 'text.txt'}"
    ready = rp.prepare(model, data=data, tokenizer=characters, context=LENGTH)
    ids = torch.tensor(characters((tmp_path / "text.txt").read_text()))
    assert torch.equal(ready.images, ids[: 9 * (len(ids) // 9)].view(-1, 9))
    assert torch.equal(ready.labels[:, :-1], ready.images[:, 1:])
    assert ready.identity["data_note"] == "88 tokens in rows of 9" and ready.normalize == "none"
    assert len(rp.lesion(ready).table) == N + 1
    for given, said in (
        ({"tokenizer": characters, "context": 100}, "has 88 tokens, and a row of context=100"),
        ({"tokenizer": characters, "context": 1}, "at least 2 tokens"),
        ({"tokenizer": str.upper}, "the tokenizer fails|gives"),
        ({"tokenizer": lambda text: [0.5]}, "gives torch.float32 of shape"),
        ({}, "SmallGPT comes without a tokenizer: give tokenizer="),
    ):
        with pytest.raises(ProbeError, match=said):
            rp.prepare(model, data=data, **given)


def test_tokens_come_from_tensors_loaders_and_batches_by_name(model):
    rows = [{"input_ids": row, "labels": row} for row in IDS]
    masked = {"input_ids": IDS, "attention_mask": (torch.arange(LENGTH) < 5).expand(6, -1).long()}
    loader = torch.utils.data.DataLoader(rows, batch_size=4)
    for given in (IDS, (IDS, IDS)):
        ready = rp.prepare(model, data=given)
        assert torch.equal(ready.images, IDS) and torch.equal(ready.labels[:, :-1], IDS[:, 1:])
    found = rp.data.given(loader)
    assert torch.equal(found.images["input_ids"], IDS) and torch.equal(found.labels, IDS)
    assert found.fingerprint() == rp.data.given([{"input_ids": IDS, "labels": IDS}]).fingerprint()
    assert rp.data.given([masked]).labels[0].tolist() == [*IDS[0, :5].tolist(), *[-100] * 4]
    with pytest.raises(ProbeError, match="a dictionary of text: expected images"):
        rp.data.given([{"text": "abc"}])
    with pytest.raises(ProbeError, match="have different lengths"):
        rp.data.given([{"input_ids": IDS, "labels": IDS[:3]}])
