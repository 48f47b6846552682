"""The classifier behind every block: when a network knows its answer.

Paper    nostalgebraist 2020, "interpreting GPT: the logit lens", and Belrose et al. 2023, arXiv
         2303.08112, of language models
Claim    The answer forms step by step: applied to the states of earlier layers, the head gives
         distributions that come closer to the last one from layer to layer
Here     photographs, the first 1,000 of CIFAR-10's test images stored as JPEG; preresnet110
         (bundled, one seed), 11.70 % error. The head is at chance to the end of the first stage
         (10.7 % right), has 17.4 % behind block 36 of 54, then within ten blocks nearly all:
         61.3 % behind block 42, 84.3 % behind 46, where 90.6 % (95 % CI 88.6–92.3 %) of the images
         have their final answer. The divergence from the last distribution falls from 3.07 nats by
         0.74 over 36 blocks and from 2.33 to 0 over the last 18, with ten small rises in 54 steps.
         So it comes closer, as claimed, but not evenly: nearly all of it happens in the stage whose
         width the head is made for. Seconds
Run      python analyses/belrose2023_lens.py           (--tiny: a small network, few images; --arch)
         photographs: --zoo cifar10-jpeg --data parquet:FILE --limit 1000, CIFAR-10's test images
"""

from __future__ import annotations

from resnet_probe.findings import summarize_lens
from resnet_probe.runs.job import obtained
from resnet_probe.runs.several import deep_network, given_to, parser, request_of


def main() -> None:
    asked = parser(__doc__, tiny="a small network, few images")
    deep_network(asked)
    given = given_to(asked, __file__, few=32)
    found = obtained("lens", request_of(given, limit=1000), folder=given.out)
    print(summarize_lens(found.result))
    print(found.folder)


if __name__ == "__main__":
    main()
