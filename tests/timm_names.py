"""What discovery makes of 101 networks of timm: `python tests/timm_names.py` writes the table.

The names were chosen across timm's families before any of them was seen to pass, and none is taken
away because it does not.  A network is `residual` if its graph holds an addition of a shortcut and
a branch anywhere: one that is refused because its residual blocks lie beside another path counts as
not cut, and only a network without any such addition (DenseNet, VGG, …) is left out of the share.
"""

from __future__ import annotations

import csv
import sys
import warnings
from pathlib import Path

import torch

from resnet_probe import ProbeError, chain_of
from resnet_probe import ResidualChain as Chain

Row = dict[str, str]

TABLE = Path(__file__).with_name("timm_names.csv")
COLUMNS = ("name", "residual", "blocks", "layers", "roles", "inner", "uncut", "reason")
NAMES = """
resnet26d resnetv2_50 resnext26ts seresnet50 ecaresnet26t skresnet18 res2net50_14w_8s resnest14d
cspresnet50 cspdarknet53 regnetz_b16 gernet_s repvgg_a0 nfnet_l0 nf_resnet26 densenet121 dpn68
vovnet39a ese_vovnet19b_dw hrnet_w18_small dla34 efficientnet_lite0 tf_efficientnetv2_b0
mobilenetv3_small_050 mobilenetv4_conv_small mnasnet_small ghostnet_050 fbnetc_100 mixnet_s
lcnet_050 tinynet_e rexnet_100 hardcorenas_a convnext_atto convnextv2_atto inception_next_atto
convmixer_768_32 edgenext_xx_small fastvit_t8 repghostnet_050 repvit_m0_9 efficientvit_b0
efficientvit_m0 mobileone_s0 starnet_s1 vit_tiny_patch16_224 vit_relpos_small_patch16_224
vit_small_patch16_dinov3 deit_tiny_distilled_patch16_224 deit3_small_patch16_224
beit_base_patch16_224 cait_xxs24_224 xcit_nano_12_p16_224 eva02_tiny_patch14_224
swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_224 twins_svt_small
pvt_v2_b0 poolformer_s12 poolformerv2_s12 caformer_s18 convformer_s18 coat_lite_tiny
coatnet_nano_rw_224 maxvit_nano_rw_256 crossvit_tiny_240 levit_128s mobilevit_xxs
mobilevitv2_050 pit_ti_224 tnt_s_patch16_224 visformer_tiny volo_d1_224 nest_tiny convit_tiny
davit_tiny focalnet_tiny_srf gcvit_xxtiny hiera_tiny_224 mvitv2_tiny nextvit_small mixer_s16_224
resmlp_12_224 gmlp_ti16_224 sequencer2d_s bat_resnext26ts halonet26t lambda_resnet26rpt_256
botnet26t_256 eca_botnext26ts_256 haloregnetz_b tresnet_m selecsls42b xception41 legacy_xception
inception_v4 inception_resnet_v2 pnasnet5large nasnetalarge vgg11
""".split()  # noqa: SIM905
BESIDE = "the residual blocks on one of these paths"


def model_and_images(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """The network with random weights in eval mode, and two images of its own size."""
    import timm

    with warnings.catch_warnings(), torch.random.fork_rng([]):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = timm.create_model(name, pretrained=False).eval()
    shape = model.default_cfg["input_size"]
    return model, torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))


def outcome(name: str, model: torch.nn.Module, images: torch.Tensor) -> tuple[Row, Chain | None]:
    """The row of the table of one network, and its chain if there is one."""
    try:
        chain = chain_of(model, images[:1], name=name)
    except ProbeError as error:
        reason = str(error).partition(": ")[2]
        residual = "yes" if BESIDE in reason else "no"
        found = {"name": name, "residual": residual, "blocks": "0", "reason": reason}
        return dict.fromkeys(COLUMNS, "") | found, None
    roles = " ".join(sorted({block.role for block in chain} - {""}))
    inner = sum(len(block.inner) for block in chain)
    numbers = map(str, (len(chain), len(chain.layers), roles, inner, len(chain.uncut)))
    counts = dict(zip(("blocks", "layers", "roles", "inner", "uncut"), numbers, strict=True))
    reason = "; ".join(chain.uncut[:1])
    return {"name": name, "residual": "yes", **counts, "reason": reason}, chain


def table() -> dict[str, Row]:
    """The committed table, by name."""
    with TABLE.open(newline="") as file:
        return {line["name"]: line for line in csv.DictReader(file)}


def main() -> None:
    with warnings.catch_warnings(), TABLE.open("w", newline="") as file:
        warnings.simplefilter("ignore")
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for name in NAMES:
            writer.writerow(outcome(name, *model_and_images(name))[0])
            print(name, file=sys.stderr)


if __name__ == "__main__":
    main()
