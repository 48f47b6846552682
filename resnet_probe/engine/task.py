"""What a network is asked: from its outputs and the labels to losses and right answers.

Labels say the task.  Whole numbers, one an image, are classes, from logits `[n, classes]`.  Whole
numbers at several positions of an image, `[n, positions]`, are as many classes, from logits
`[n, positions, classes]`: the next tokens of a text, the pixels of a picture, labels that are each
there or not.  Fractions `[n, numbers]` are what outputs of that shape should be.  `asked` brings
what a network gives into one of these three forms; a single logit z is the two logits 0 and z,
whose softmax is the sigmoid of z.

Every image counts alike: its loss is the mean over its positions, those of the label −100 left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from resnet_probe.chain import ResidualChain
from resnet_probe.errors import ProbeError, did_you_mean

IGNORED = -100
"""The label of a position that counts for nothing, as torch's cross-entropy has it."""
ROOM = 2**21
"""Numbers of the log-probabilities that are held at once where none has a gradient."""
Kind = Literal["classes", "places", "numbers"]
"""One class an image, one at each position of an image, or numbers."""
LOSSES = ("cross-entropy", "binary", "mse")


class Asked(NamedTuple):
    """A chain whose outputs the labels fit, and sentences on what was made of either."""

    chain: ResidualChain
    labels: Tensor
    said: tuple[str, ...] = ()


def kind_of(labels: Tensor) -> Kind:
    """What labels in their form are."""
    if labels.is_floating_point():
        return "numbers"
    return "classes" if labels.dim() == 1 else "places"


# ---- from logits and labels, which fit each other, to what is measured


def losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Of each image `[n]`, in the type of the logits: mean cross-entropy in nats, or mean square.

    Differentiable.
    """
    kind = kind_of(labels)
    if kind == "numbers":
        return (logits - labels.to(logits)).square().mean(1)
    if kind == "classes":
        return F.cross_entropy(logits, labels, reduction="none")
    rows, truth = logits.flatten(0, 1), labels.flatten()
    if logits.is_inference() and rows.numel() > ROOM:
        each = _in_pieces(rows, truth)
    else:
        each = F.cross_entropy(rows, truth, ignore_index=IGNORED, reduction="none")
    return over_positions(each.view(labels.shape), labels)


def _in_pieces(logits: Tensor, labels: Tensor) -> Tensor:
    """The same of `[m, classes]` where nothing is differentiated: of one piece after another.

    Over a vocabulary the log-probabilities would take as much memory as the logits.
    """
    found = []
    size = max(1, ROOM // logits.shape[1])
    room = torch.empty(size, logits.shape[1], dtype=logits.dtype, device=logits.device)
    for rows, truth in zip(logits.split(size), labels.split(size), strict=True):
        log_p = torch.log_softmax(rows, 1, out=room[: len(rows)])
        found.append(-log_p.gather(1, truth.clamp_min(0).unsqueeze(1)).squeeze(1))
    return torch.cat(found)  # of an ignored position, which nobody counts, that of class 0


def right(logits: Tensor, labels: Tensor) -> Tensor:
    """The share of right answers of each image, float64 `[n]`."""
    if labels.dim() == 1:
        return (predicted(logits) == labels).double()
    true = logits.gather(-1, labels.clamp_min(0).unsqueeze(-1)).squeeze(-1)
    largest = (true == logits.amax(-1)) & (labels != IGNORED)
    same = torch.zeros(labels.shape, dtype=torch.float64, device=logits.device)
    same[largest] = (predicted(logits[largest]) == labels[largest]).double()  # of equal ones one
    return over_positions(same, labels)


def predicted(logits: Tensor) -> Tensor:
    """The class of each answer, int64 `[n, …]`; of equal logits the same one in every study."""
    return logits.topk(min(2, logits.shape[-1]), dim=-1).indices[..., 0]


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """The true class's logit less the largest other one, `[n]`, in the mean over positions."""
    here = labels.clamp_min(0).unsqueeze(-1)
    others = logits.scatter(-1, here, -torch.inf).amax(-1)
    lead = logits.gather(-1, here).squeeze(-1) - others
    return lead if labels.dim() == 1 else over_positions(lead, labels)


def over_positions(values: Tensor, labels: Tensor) -> Tensor:
    """The mean `[n]` of `[n, positions]`, without the positions that are ignored."""
    known = labels != IGNORED
    return torch.where(known, values, 0).sum(1) / known.sum(1)


def loss_gradient(logits: Tensor, labels: Tensor) -> Tensor:
    """The gradient of each image's loss at its own logits, float64, of their shape.

    Of the true class minus the sum over the others, which is not lost where the network is sure.
    """
    kind, here = kind_of(labels), labels.to(logits.device)
    if kind == "numbers":
        return 2 * (logits.double() - here.double()) / logits.shape[1]
    chance = torch.softmax(logits.double(), dim=-1)
    true = here.clamp_min(0).unsqueeze(-1)
    others = chance.scatter(-1, true, 0.0)
    gradient = others.scatter(-1, true, -others.sum(-1, keepdim=True))  # no 1 − (1 − tiny)
    if kind == "classes":
        return gradient
    known = (here != IGNORED).unsqueeze(-1)
    return torch.where(known, gradient, 0.0) / known.sum(1, keepdim=True)


# ---- from what a network gives and the labels to one of the three forms


def asked(
    chain: ResidualChain, labels: Tensor, tokens: Tensor | None = None, *, loss: str | None = None
) -> Asked:
    """The chain with a head that gives what the labels are for, and the labels in that form.

    `tokens` `[n, t]` are the inputs of a network of tokens: labels that repeat them are those of
    the next token, and are moved to where it is predicted.  `loss` says what is not to be guessed:
    `binary` for labels of 0 and 1 that are independent of each other, `mse` for numbers.

    What is in that form stays as it is.  Raises `ProbeError` for labels that fit no output.
    """
    if loss is not None and loss not in LOSSES:
        there = ", ".join(LOSSES) + did_you_mean(loss, LOSSES)
        raise ProbeError(f"there is no loss={loss!r}: there are {there}")
    shape = _shape(chain, tokens)
    classes = len(shape) == 1 and shape[0] > 1 and loss is None
    if loss == "mse" or (labels.is_floating_point() and _are_numbers(labels, classes)):
        return _numbers(chain, labels, shape, loss)
    whole = labels.to(torch.int64)
    if classes and whole.dim() == 2 and whole.shape[1] == 1:
        whole = whole[:, 0]
    if loss != "binary" and len(shape) == 1 and shape[0] > 1 and whole.dim() == 1:
        return Asked(chain, whole)
    if loss != "binary" and len(shape) > 1:
        return _places(chain, whole, shape, tokens)
    return _binary(chain, whole, shape, loss)


def _shape(chain: ResidualChain, tokens: Tensor | None) -> tuple[int, ...]:
    """That of one output; of as many positions as there are tokens, where their number is free."""
    shape = (chain.classes,) if chain.output_shape is None else tuple(chain.output_shape)
    if tokens is None or not chain.free or len(shape) != 2 or shape[:1] != chain.input_shape[:1]:
        return shape
    return (tokens.shape[1], shape[1])


def _are_numbers(labels: Tensor, classes: bool) -> bool:
    """Whether floats are more than class numbers, or zeros and ones, in another type."""
    if classes and labels.dim() == 1:
        if not torch.equal(labels, labels.round()):
            raise ProbeError("labels hold fractions: give the number of each image's class, from 0")
        return False
    return not bool(((labels == 0) | (labels == 1)).all())


def _numbers(
    chain: ResidualChain, labels: Tensor, shape: tuple[int, ...], loss: str | None
) -> Asked:
    wanted = labels.to(torch.float64 if labels.dtype == torch.float64 else torch.float32)
    if loss is None and wanted.dim() == 2 and bool(((wanted.sum(1) - 1).abs() < 1e-5).all()):
        raise ProbeError(
            f"labels {_form(labels.shape[1:])} add up to 1 an image, as chances of classes do: "
            "give labels.argmax(1), or say loss='mse' of numbers"
        )
    size = torch.Size(shape).numel()
    if wanted[0].numel() != size or (wanted.dim() > 1 and tuple(wanted.shape[1:]) != shape):
        raise ProbeError(
            f"labels {_form(labels.shape[1:])} of numbers do not fit {chain.name}, which gives "
            f"{_form(shape)}: as many numbers an image are needed as it gives"
        )
    if not torch.isfinite(wanted).all():
        raise ProbeError("labels hold NaN or Inf: give the number that each output should be")
    flat = chain if shape == (size,) else with_head(chain, flat_numbers, (size,))
    return Asked(flat, wanted.flatten(1) if wanted.dim() > 1 else wanted[:, None])


def _places(
    chain: ResidualChain, labels: Tensor, shape: tuple[int, ...], tokens: Tensor | None
) -> Asked:
    form = tuple(labels.shape[1:])
    first, last = form == shape[1:], form == shape[:-1]
    if first and last:
        raise ProbeError(
            f"{chain.name} gives {_form(shape)}, and which of its sides are the classes cannot be "
            "told: give output= a function that puts them last"
        )
    if last:
        moved, said = next_tokens(labels, tokens)
        if len(shape) == 2:
            return Asked(chain, moved, said)
        flat = with_head(chain, flat_places, (torch.Size(form).numel(), shape[-1]))
        return Asked(flat, moved.flatten(1), said)
    if first:
        flat = with_head(chain, classes_last, (torch.Size(form).numel(), shape[0]))
        return Asked(flat, labels.flatten(1))
    raise ProbeError(
        f"{chain.name} gives logits {_form(shape)}, and labels {_form(form)} do not fit them: give "
        f"a class for each position, {_form(shape[1:])} or {_form(shape[:-1])}, or choose one "
        "answer an image with output="
    )


def next_tokens(labels: Tensor, tokens: Tensor | None) -> tuple[Tensor, tuple[str, ...]]:
    """Labels `[n, t]` where their predictions stand; those of the next token repeat the tokens.

    A network that is asked for the token that it is given would be asked nothing.
    """
    if tokens is None or tokens.shape != labels.shape or tokens.is_floating_point():
        return labels, ()
    known = labels != IGNORED
    if not known.any() or not bool((labels == tokens.to(labels))[known].all()):
        return labels, ()
    ends = torch.full_like(labels[:, :1], IGNORED)
    said = "the labels are the tokens: each is predicted from those before it"
    return torch.cat([labels[:, 1:], ends], dim=1), (said,)


def _binary(
    chain: ResidualChain, labels: Tensor, shape: tuple[int, ...], loss: str | None
) -> Asked:
    """Logits z of labels that are there or not, as the two logits 0 and z of each."""
    form = tuple(labels.shape[1:])
    if len(shape) > 1 or (form or (1,)) != (shape or (1,)):
        raise ProbeError(
            f"{chain.name} gives logits {_form(shape)}, and labels {_form(form)} do not fit them: "
            "of classes give one number an image, of independent labels 0 or 1 for each logit"
        )
    outside = torch.nonzero(~((labels == 0) | (labels == 1)))
    if len(outside):
        place = tuple(int(at) for at in outside[0])
        raise ProbeError(
            f"label {int(labels[place])} of image {place[0]} is neither 0 nor 1: {chain.name} "
            f"gives {_form(shape)}, a logit for each label that is there or not; of numbers give "
            "fractions, or loss='mse'"
        )
    several = len(shape) == 1 and shape[0] > 1
    if several and loss is None and bool((labels.sum(1) == 1).all()):
        raise ProbeError(
            f"labels {_form(form)} have a single 1 an image: of one-hot rows give "
            "labels.argmax(1), and of independent labels say loss='binary'"
        )
    if several:
        said = f"{shape[0]} labels that are each there or not: the logits of each are 0 and z"
        return Asked(with_head(chain, zero_beside, (shape[0], 2)), labels, (said,))
    said = "a single logit z, as the logits 0 and z of two classes"
    return Asked(with_head(chain, zero_and, (2,)), labels.flatten(), (said,))


def _form(shape: tuple[int, ...] | torch.Size) -> str:
    return f"[n{''.join(f', {side}' for side in shape)}]"


def zero_and(z: Tensor) -> Tensor:
    """`[n]` or `[n, 1]` to `[n, 2]`: the logits 0 and z."""
    return F.pad(z.reshape(-1, 1), (1, 0))


def zero_beside(z: Tensor) -> Tensor:
    """`[n, k]` to `[n, k, 2]`: the logits 0 and z of each."""
    return F.pad(z.unsqueeze(-1), (1, 0))


def classes_last(z: Tensor) -> Tensor:
    """`[n, classes, …]` to `[n, positions, classes]`."""
    return z.flatten(2).transpose(1, 2)


def flat_places(z: Tensor) -> Tensor:
    """`[n, …, classes]` to `[n, positions, classes]`."""
    return z.flatten(1, -2)


def flat_numbers(z: Tensor) -> Tensor:
    """`[n, …]` to `[n, numbers]`."""
    return z.reshape(len(z), -1)


def with_head(
    chain: ResidualChain, make: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> ResidualChain:
    """The chain with `make` done to what its head gives, which is then of that shape an image."""
    return replace(chain, head=behind(chain.head, make), classes=shape[-1], output_shape=shape)


def behind(module: nn.Module, make: Callable[[Tensor], Tensor]) -> fx.GraphModule:
    """The module with `make` behind it, in one graph where it is one; its tensors are shared."""
    graph, root = fx.Graph(), module
    if isinstance(module, fx.GraphModule):
        end = graph.graph_copy(module.graph, {})
    else:
        root = nn.Module()
        root.add_module("head", module)
        end = graph.call_module("head", (graph.placeholder("h"),))
    assert isinstance(end, fx.Node)
    graph.output(graph.call_function(make, (end,)))
    return fx.GraphModule(root, graph)
