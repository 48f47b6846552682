"""What a report asks and how it answers: a question a study, and the sections of the page.

A question knows what its figures show and what to keep in mind; a section holds its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from resnet_probe import findings as summaries
from resnet_probe.errors import ProbeError
from resnet_probe.findings import Finding
from resnet_probe.results import Result

SHARED_WEIGHTS = (
    "The paths of a network share their weights, so they are no ensemble of independent networks: "
    "“ensemble-like” is as far as this study goes."
)
STALE = (
    "Batch norm keeps the statistics of the whole network. Part of what a deletion costs can be "
    "those stale statistics and not the missing path; lesion --recalibrate takes the two apart."
)
BOUND = (
    "Number × mean norm bounds the norm of what the paths of a length add up to, and is not that "
    "norm: gradients of different paths cancel in part. The exact sum is drawn beside it."
)
FROZEN = (
    "The forward pass is frozen: activation masks and batch-norm statistics are those of the whole "
    "network."
)

OPENING = ("lesion", "paths", "responses")
"""The studies whose answers open a report."""
NOT_ASKED = "Not measured for this page."
SMALL_DIGITS = (
    "These are small images of handwritten digits, an easy task: what holds here need not hold on "
    "photographs."
)


@dataclass(frozen=True)
class Question:
    """One study in a report.

    `figures` are file stems of `figures.draw_all` with what each shows; `by_block` those whose
    horizontal axis is the number of a block; `compared` says that a published curve is overlaid.
    """

    study: str
    title: str
    find: Callable[[Result], Finding]
    figures: Mapping[str, str]
    caveats: tuple[str, ...]
    by_block: frozenset[str] = field(default=frozenset())
    compared: bool = False


QUESTIONS = (
    Question(
        "lesion",
        "Does it survive the loss of a block?",
        summaries.single_deletions,
        {
            "figure": "Error with each block deleted, with its interval, beside the whole network, "
            "and beside the published curve where that is of as many blocks. Hollow markers: shown "
            "harmless, all blocks together; pale ones: neither harm nor harmlessness is shown.",
            "recalibrated": "The same with batch-norm statistics re-estimated for each edited "
            "network, beside those of the whole one.",
        },
        (STALE, SHARED_WEIGHTS),
        by_block=frozenset({"figure", "recalibrated"}),
        compared=True,
    ),
    Question(
        "control",
        "Can a block go because its residual is small?",
        summaries.same_size,
        {
            "figure": "Error with each block deleted, and with its output moved as far in another "
            "direction: along another image’s branch, along white noise, and twice as far along "
            "the branch reversed."
        },
        ("A move of the same norm is not the same move for what comes behind: batch norm and ReLU "
         "see its direction.",),
        by_block=frozenset({"figure"}),
    ),
    Question(
        "lesion-counts",
        "How many blocks can it lose?",
        summaries.several_deletions,
        {"figure": "Error with several random blocks deleted at once, by their number."},
        (STALE,),
        compared=True,
    ),
    Question(
        "lesion-permute-tau",
        "Does the order of its blocks matter?",
        summaries.other_orders,
        {"figure": "Error with the blocks in another order, by its rank correlation with their "
                   "own."},
        (STALE, "Blocks change places inside a stage only, where they have the same shape."),
        compared=True,
    ),
    Question(
        "lesion-ranges",
        "How long a range of blocks can it lose?",
        summaries.ranges,
        {"figure": "Error with every range of consecutive blocks deleted: where it begins across, "
                   "how many blocks upwards. Dots: not harmful, all ranges together."},
        (STALE, SHARED_WEIGHTS),
    ),
    Question(
        "greedy",
        "Which blocks can go, one after another?",
        summaries.what_remeasuring_buys,
        {"figure": "Error by how many blocks are gone: each time the one that costs least, "
                   "measured again; by the cost of single deletions; by Block Influence. Beside "
                   "it, which block goes when."},
        (STALE, "The orders are chosen on one half of the images, the errors are those of the "
         "other half: they hold for these orders, not for the best that there are."),
    ),
    Question(
        "gates",
        "Is the loss a straight line around each block’s gate?",
        summaries.foretold,
        {"figure": "Change in loss with one branch multiplied by a gate, a line a block, and the "
                   "measured changes beside those that the gradient at gate one foretells."},
        (STALE,),
    ),
    Question(
        "influence",
        "Do its blocks build on each other?",
        summaries.effective_depth,
        {"figure": "What deleting a block, across, changes in each later one, upwards: the size of "
                   "the change in units of that branch’s own. Beside it, the longest chain of "
                   "blocks in which each changes the next by at least so much."},
        ("A chain of blocks that each change the next by little can be long and carry much: "
         "the depth is that of strong changes, from the threshold on.",),
    ),
    Question(
        "interactions",
        "Do its blocks add up, or act together?",
        summaries.additive,
        {"figure": "Share of the variance over networks with blocks missing at random, by how many "
                   "blocks act together."},
        (STALE, "The shares are those of a chance of keeping each block: near the whole network "
         "blocks add up more than far from it."),
    ),
    Question(
        "paths",
        "Which paths carry the gradient?",
        summaries.short_paths,
        {
            "figure": "By path length: how many paths there are, the gradient norm of single paths "
            "and of their sum, number × norm, and the exact share of the gradient. Grey: the "
            "lengths that were published as effective.",
            "terms": "The identity term of the gradient beside all the rest, at every block: "
            "sizes, direction, and for how many images the two nearly cancel.",
            "depth": "Which path lengths arrive at which block: the norm of the sum over all paths "
            "of a length, in units of the whole gradient there.",
        },
        (BOUND, FROZEN),
    ),
    Question(
        "responses",
        "How large are its residuals?",
        summaries.small_residuals,
        {
            "blocks": "What each branch gives: its size and variance beside the shortcut’s, its "
            "direction, how far the state is from the end of its stage, and its units.",
            "figure": "Standard deviation of the response of every weight layer, in order and "
            "sorted.",
        },
        ("The published figure of the layer responses has no printed numbers to draw beside ours.",
         "The norms are over all positions and channels of an image; a ratio is the mean over "
         "images."),
        by_block=frozenset({"blocks"}),
    ),
    Question(
        "lens",
        "When is the answer there?",
        summaries.answer_depth,
        {"figure": "What the last classifier answers behind each block, and how sure it is."},
        ("The classifier was trained on the last state only: a wrong answer from an earlier one "
         "may be for want of the right reading, not of the answer.",
         "States of another width are carried on by the shortcuts that remain."),
        by_block=frozenset({"figure"}),
    ),
    Question(
        "attribute",
        "Which blocks carry the decision?",
        summaries.block_shares,
        {
            "figure": "What each block adds to accuracy, loss and margin: deleted alone, and as "
            "its Shapley value, with intervals.",
            "classes": "Accuracy lost on each class when a block is deleted.",
            "interactions": "What two blocks cost together beyond the sum of each alone.",
        },
        (STALE, "Shapley values average over orders in which blocks are added to a network without "
         "branches, which is far from any network that was trained."),
        by_block=frozenset({"figure", "classes"}),
    ),
)  # fmt: skip


def question(study: str) -> Question:
    """The one of that study; `ProbeError` where a report does not ask it."""
    for asked in QUESTIONS:
        if asked.study == study:
            return asked
    known = ", ".join(asked.study for asked in QUESTIONS)
    raise ProbeError(f"a report has no section for the study {study!r}: there is {known}")


@dataclass(frozen=True)
class Section:
    """One question: answered by `finding`, or not asked for the reason in `absent`."""

    asked: Question
    result: Result | None
    finding: Finding | None
    absent: str = ""
    command: str = ""
    caveats: tuple[str, ...] = ()


def sections(
    results: Mapping[str, Result],
    *,
    commands: Mapping[str, str] | None = None,
    absent: Mapping[str, str] | None = None,
) -> list[Section]:
    """The sections of a report, in its order, by study: its result, or why there is none.

    `commands` reproduce a study each, or measure one that has no result here; `absent` says in a
    sentence why one does not apply.  Raises
    `ProbeError` for a study that a report does not ask, and for no results at all.
    """
    commands, absent = commands or {}, absent or {}
    known = [asked.study for asked in QUESTIONS]
    strange = [study for study in (*results, *absent) if study not in known]
    if strange:
        raise ProbeError(f"a report has no section for {strange[0]!r}: it has {', '.join(known)}")
    if not results:
        raise ProbeError("a report needs the result of at least one study")
    found = []
    for asked in QUESTIONS:
        result = results.get(asked.study)
        command = commands.get(asked.study, "")
        if result is not None:
            caveats = (*asked.caveats, *_of_the_images(result))
            found.append(Section(asked, result, asked.find(result), "", command, caveats))
        elif asked.study in absent or command:
            why = absent.get(asked.study, NOT_ASKED)
            found.append(Section(asked, None, None, why, command))
    return found


def answers(found: list[Section]) -> list[Section]:
    """The sections that open the page, those without an answer too."""
    return [section for section in found if section.asked.study in OPENING]


def _of_the_images(result: Result) -> list[str]:
    """What has to be known about the images; every number in it is from the identity."""
    identity = result.provenance.get("identity", {})
    notes = []
    if identity.get("data") == "digits":
        notes.append(SMALL_DIGITS)
    if "JPEG" in str(identity.get("data_note", "")):
        notes.append(
            "The images are JPEG re-encodings: networks trained on the original pixels lose "
            "accuracy on them, so no error here is to be compared with a published one."
        )
    elif identity.get("data_note"):
        notes.append(f"The images: {identity['data_note']}.")
    return notes
