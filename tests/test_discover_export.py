"""Token networks and networks with inputs by name: cut by way of `torch.export`.

By default a few architectures; all of them with RESNET_PROBE_ALL_NETWORKS=1.
"""

from __future__ import annotations

import os
import warnings

import pytest
import torch
from torch import nn

from resnet_probe import ProbeError, Sweep, chain_of
from resnet_probe.edits import Edit
from resnet_probe.state import Inputs, State, residual
from resnet_probe.studies.checks import fitted

transformers = pytest.importorskip("transformers")

ALL = bool(os.environ.get("RESNET_PROBE_ALL_NETWORKS"))
WORDS = 47
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
         "num_attention_heads": 2}  # fmt: skip
GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2}
PAIR = {"num_key_value_heads": 1}
LANGUAGE = {  # configuration, blocks, what ends a branch inside a layer, the layers' path
    "gpt2": (GPT, 4, ("attn.c_proj", "mlp.c_proj"), "transformer.h"),
    "llama": (SMALL | PAIR, 4, ("self_attn.o_proj", "mlp.down_proj"), "model.layers"),
    "bloom": ({"hidden_size": 16, "n_layer": 2, "n_head": 2}, 4,
              ("self_attention.dense", "mlp.dense_4h_to_h"), "transformer.h"),
    "gpt_neox": (SMALL, 2, ("attention.dense", "mlp.dense_4h_to_h"), "gpt_neox.layers"),
    "gptj": (GPT | {"rotary_dim": 4}, 2, ("attn.out_proj", "mlp.fc_out"), "transformer.h"),
    "opt": ({"hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
             "word_embed_proj_dim": 16}, 4, ("self_attn.out_proj", "fc2"), "model.decoder.layers"),
    "gemma2": (SMALL | PAIR | {"head_dim": 8}, 4, ("self_attn.o_proj", "mlp.down_proj"),
               "model.layers"),
    "mixtral": (SMALL | PAIR | {"num_local_experts": 4}, 4, ("self_attn.o_proj", "mlp"),
                "model.layers"),
    "falcon": ({"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}, 2,
               ("self_attention.dense", "mlp.dense_4h_to_h"), "transformer.h"),
    "phi": (SMALL, 2, ("self_attn.dense", "mlp.fc2"), "model.layers"),
    "qwen2": (SMALL | PAIR, 4, ("self_attn.o_proj", "mlp.down_proj"), "model.layers"),
    "cohere": (SMALL | PAIR, 2, ("self_attn.o_proj", "mlp.down_proj"), "model.layers"),
}  # fmt: skip
MORE = {  # configuration, blocks; the auto class where it is no causal language model
    "qwen3": (SMALL | PAIR | {"head_dim": 8}, 4),
    "gemma3_text": (SMALL | PAIR | {"head_dim": 8}, 4),
    "mpt": ({"d_model": 16, "n_heads": 2, "n_layers": 2, "max_seq_len": 32}, 4),
    "stablelm": (SMALL | PAIR, 4),
    "olmo2": (SMALL | PAIR, 4),
    "mistral": (SMALL | PAIR, 4),
    "qwen2_moe": (SMALL | PAIR | {"num_experts": 4, "moe_intermediate_size": 8,
                                  "shared_expert_intermediate_size": 8}, 4),
    "gpt_oss": (SMALL | PAIR | {"head_dim": 8, "num_local_experts": 4}, 4),
    "gpt_neo": ({"hidden_size": 16, "num_layers": 2, "num_heads": 2,
                 "attention_types": [[["global", "local"], 1]]}, 4),
    "phi3": (SMALL | PAIR | {  # its forward pass writes to itself
        "original_max_position_embeddings": 8, "max_position_embeddings": 32,
        "rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4,
                            "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}}, 4),
    "xlnet": ({"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32}, 4),
    "roberta": (SMALL, 4, "AutoModelForMaskedLM"),
    "electra": (SMALL | {"embedding_size": 16}, 4, "AutoModelForMaskedLM"),
    "distilbert": ({"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2}, 4,
                   "AutoModelForMaskedLM"),
    "deberta-v2": (SMALL, 4, "AutoModelForMaskedLM"),
    "modernbert": (SMALL, 4, "AutoModelForMaskedLM"),
}  # fmt: skip
IMAGES = {
    "vit": ({**SMALL, "image_size": 16, "patch_size": 8}, 4),
    "swin": ({"embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 2,
              "image_size": 16, "patch_size": 2}, 8),
    "convnext": ({"hidden_sizes": [4, 8], "depths": [2, 2], "num_stages": 2, "image_size": 32}, 4),
    "resnet": ({"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [2, 2],
                "layer_type": "basic"}, 4),
    "beit": ({**SMALL, "image_size": 16, "patch_size": 8}, 4),
    "dinov2": ({**SMALL, "image_size": 16, "patch_size": 8}, 4),
    "swinv2": ({"embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 2,
                "image_size": 16, "patch_size": 2}, 8),
    "regnet": ({"embedding_size": 4, "hidden_sizes": [4, 8, 8, 8], "depths": [1, 2, 1, 1],
                "groups_width": 4}, 5),
}  # fmt: skip


def some(names, few):
    return [name for name in names if ALL or name in few]


def config(kind, options):
    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 1)
    return transformers.AutoConfig.for_model(kind, **options, **ids)


def built(auto, kind, options):
    with warnings.catch_warnings(), torch.random.fork_rng([]):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        return auto.from_config(config(kind, options)).eval()


def language_model(kind):
    options = LANGUAGE[kind][0] | {"vocab_size": WORDS}
    return built(transformers.AutoModelForCausalLM, kind, options)


def tokens(rows=2, length=6, seed=0, padded=True):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, WORDS, (rows, length), generator=generator)
    mask = torch.ones(rows, length, dtype=torch.long)
    if padded:
        mask[-1, -2:] = 0
    return {"input_ids": ids, "attention_mask": mask}


@torch.no_grad()
def with_zeroed(model, paths, given):
    hooks = [
        model.get_submodule(path).register_forward_hook(
            lambda m, a, out: tuple(o * 0 for o in out) if isinstance(out, tuple) else out * 0
        )
        for path in paths
    ]
    try:
        return model(**given).logits
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("kind", some(LANGUAGE, {"gpt2", "bloom"}))
def test_language_models_are_cut_and_a_deletion_is_a_zeroed_branch(kind):
    model, given = language_model(kind), tokens()
    _, count, ends, place = LANGUAGE[kind]
    chain = chain_of(model, given, name=kind)
    assert len(chain) == count and chain.residue == 0 and len(chain.layers) == 2
    together = count == 2  # both branches of a layer in one block
    for other in (given, tokens(3, 9, seed=1), tokens(1, 4, padded=False)):
        with torch.no_grad():
            assert torch.equal(chain(other), model(**other).logits)
            for block in (1, count):
                layer = block - 1 if together else (block - 1) // 2
                gone = ends if together else ends[(block - 1) % 2 :][:1]
                expected = with_zeroed(model, [f"{place}.{layer}.{end}" for end in gone], other)
                assert torch.equal(chain.run(other, Edit.delete(block)), expected)


@pytest.mark.parametrize("kind", some(MORE, {"xlnet"}))
def test_more_architectures_are_cut_at_every_layer_of_theirs(kind):
    options, count, *auto = MORE[kind]
    auto = getattr(transformers, auto[0] if auto else "AutoModelForCausalLM")
    model = built(auto, kind, options | {"vocab_size": WORDS})
    chain = chain_of(model, tokens(), name=kind)
    assert len(chain) == count and [block.role for block in chain] == ["attention", "mlp"] * 2
    near = 1e-6 if kind == "gpt_neo" else 0  # another length, another order of sums
    for other in (tokens(), tokens(3, 9, seed=1), tokens(2, 20, seed=2)):
        with torch.no_grad():
            assert (chain(other) - model(**other).logits).abs().max() <= near


def test_one_length_is_free_of_a_recurrence_that_unrolls():
    if not ALL:
        pytest.skip("with RESNET_PROBE_ALL_NETWORKS=1")
    options = {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "vocab_size": WORDS}
    chain = chain_of(built(transformers.AutoModelForCausalLM, "mamba", options), tokens())
    assert len(chain) == 2 and chain.free == ("input_ids[0]", "attention_mask[0]")
    with pytest.raises(ProbeError, match=r"its chain was cut for .*letters are free sizes"):
        chain(tokens(2, 9))


@pytest.mark.parametrize("kind", some(["gpt2", "llama", "bloom", "opt", "qwen2"], {"gpt2"}))
def test_states_are_the_hidden_states_of_the_model(kind):
    model, given = language_model(kind), tokens()
    chain = chain_of(model, given)
    with torch.no_grad():
        hidden = model(**given, output_hidden_states=True).hidden_states
        states = [chain.stem(given)]
        for block in chain:
            states.append(block.run(states[-1]))
    for layer, expected in enumerate(hidden[:-1]):  # the last one is behind the last norm
        assert torch.equal(residual(states[2 * layer]), expected)


@pytest.mark.parametrize("kind", some(IMAGES, {"vit"}))
def test_image_networks_that_return_an_object(kind):
    options, count = IMAGES[kind]
    model = built(transformers.AutoModelForImageClassification, kind, options)
    generator = torch.Generator().manual_seed(0)
    side = 32 if kind == "convnext" else 16
    x = torch.randn(3, 3, side, side, generator=generator)
    chain = chain_of(model, {"pixel_values": x[:1]})
    assert len(chain) == count and chain.free == ("pixel_values[0]",)
    with torch.no_grad():
        assert torch.equal(chain(x), model(x).logits)
        assert torch.equal(chain({"pixel_values": x}), model(x).logits)


@pytest.mark.parametrize("kind", some(["bert", "albert"], {"bert"}))
def test_a_norm_behind_the_addition_stays_when_its_branch_is_deleted(kind):
    options = SMALL | {"vocab_size": WORDS} | ({"embedding_size": 8} if kind == "albert" else {})
    model = built(transformers.AutoModelForMaskedLM, kind, options)
    given = tokens()
    chain = chain_of(model, given)
    assert len(chain) == 4 and [block.role for block in chain] == ["attention", "mlp"] * 2
    if kind == "albert":
        assert chain.blocks[3].name.endswith("#2")
    else:
        gone = with_zeroed(model, ["bert.encoder.layer.1.output.dense"], given)
        with torch.no_grad():
            assert torch.equal(chain.run(given, Edit.delete(4)), gone)


@pytest.mark.parametrize("kind", some(["t5", "bart"], {"t5"}))
def test_a_decoder_is_followed_along_its_own_input(kind):
    t5 = {"d_model": 16, "d_ff": 32, "d_kv": 8, "num_layers": 2, "num_heads": 2}
    bart = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32, "encoder_attention_heads": 2,
            "decoder_attention_heads": 2}  # fmt: skip
    options = (t5 if kind == "t5" else bart) | {"vocab_size": WORDS, "decoder_start_token_id": 1}
    model = built(transformers.AutoModelForSeq2SeqLM, kind, options)
    given = tokens() | {"decoder_input_ids": tokens(2, 4, seed=3)["input_ids"]}
    with pytest.raises(ProbeError, match=r"along each of input_ids, decoder_input_ids: .* along="):
        chain_of(model, given)
    chain = chain_of(model, given, along="decoder_input_ids")
    assert [block.role for block in chain] == ["attention", "attention", "mlp"] * 2
    assert all("decoder" in block.name for block in chain) and len(chain.layers) == 2 * (
        3 if kind == "t5" else 1
    )
    with torch.no_grad():
        assert torch.equal(chain(given), model(**given).logits)


def test_all_single_deletions_of_a_language_model_in_one_sweep():
    model, given = language_model("gpt2"), tokens(5, 7)
    chain = chain_of(model, tokens())
    assert isinstance(chain.stem(given), State)  # the mask is carried
    edits = [Edit.delete(block.number) for block in chain] + [Edit.swap(1, 3)]
    found = {}
    for piece in Sweep(chain, batch=2).run(edits, Inputs.of(given)):
        for edit in piece.edits:
            found.setdefault(edit, []).append(piece.logits)
    for number, edit in enumerate(edits):
        with torch.no_grad():
            assert torch.equal(torch.cat(found[number]), chain.run(given, edit))


def test_the_weights_are_the_models_and_the_model_is_left_alone():
    model = language_model("gpt2").train()
    before = {key: id(value) for key, value in model.named_parameters()}
    kept = [dict(vars(m)) for m in model.modules()]
    chain = chain_of(model, tokens())
    held = {id(p) for module in chain.modules for p in module.parameters()}
    assert held <= set(before.values())
    assert {key: id(value) for key, value in model.named_parameters()} == before
    assert model.training and [dict(vars(m)) for m in model.modules()] == kept


def test_inputs_that_do_not_fit_are_refused():
    chain = chain_of(language_model("gpt2"), tokens(), name="small")
    ids, mask = tokens().values()
    refusals = [
        ({"input_ids": ids}, "small was cut for the inputs input_ids, attention_mask, and got"),
        (ids, "and got one tensor"),
        (tokens() | {"labels": ids}, "input_ids, attention_mask, labels"),
        ({"input_ids": ids, "attention_mask": mask[:, :-1]}, "attention_mask of small has the"),
        ({"input_ids": ids, "attention_mask": mask[:1]}, r"different numbers of rows: \[1, 2\]"),
        ({"input_ids": ids.float(), "attention_mask": mask}, "the type float32"),
        ([ids, "text"], "the input 1 is a str, not a tensor"),
    ]
    for given, reason in refusals:
        with pytest.raises(ProbeError, match=reason):
            chain(given)


class Remembering(nn.Module):
    """Blocks on named inputs; it writes what it saw into itself."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.head = nn.Linear(4, 3)
        self.longest, self.seen = 0, None

    def forward(self, x, scale=None, twice=False):
        self.longest, self.seen = max(self.longest, x.shape[1]), x
        x = x if scale is None else x * scale
        for block in self.blocks:
            x = x + torch.tanh(block(x)) * (2 if twice else 1)
        return {"out": self.head(x.mean(1)), "state": x}


def test_a_model_that_writes_into_itself_stays_as_it_was():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = Remembering().eval()
    generator = torch.Generator().manual_seed(0)
    given = {"x": torch.randn(2, 5, 4, generator=generator), "scale": torch.ones(2, 1, 1)}
    chain = chain_of(model, given, along="x", fixed={"twice": True})
    assert len(chain) == 3 and (model.longest, model.seen) == (0, None)
    assert chain.free == ("x[0]", "x[1]", "scale[0]")
    with torch.no_grad():
        assert torch.equal(chain(given), model(**given, twice=True)["out"])
    more = {"x": torch.randn(3, 7, 4, generator=generator), "scale": torch.ones(3, 1, 1)}
    ready, taken, _ = fitted(chain, more, [0, 1, 2])
    assert ready.input_shape == tuple(taken.shape[1:]) and ready.output_shape == (3,)
    assert tuple(taken.shape[1:]) == (7, 4)
    other = chain_of(model, tuple(given.values()), along="0", output="state")
    with torch.no_grad():
        assert torch.equal(other(tuple(given.values())), model(**given)["state"])


@pytest.mark.parametrize("first", [True, False])
def test_the_encoder_of_torch_itself(first):
    with torch.random.fork_rng([]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=first)
        model = nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    chain = chain_of(model, x)
    assert [block.role for block in chain] == ["attention", "mlp"] * 2 and chain.residue == 0
