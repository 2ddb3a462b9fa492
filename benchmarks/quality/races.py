"""Every race, literally: what is learnt from, by whom, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Arm:
    """One who takes part.

    Attributes:
        recipe: its name.
        settings: ``section.key=value``, beyond the recipe.
        minutes: of one processor core; None: the race's.
    """

    recipe: str
    settings: tuple[str, ...] = ()
    minutes: float | None = None


@dataclass(frozen=True)
class Race:
    """Recipes on the same pictures for the same time.

    Attributes:
        title: what is asked, in a few words.
        data: a name in ``pictures.DATA_SETS``.
        arguments: of ``pixloom train``, all but data, recipe, settings, size, images, seed and out.
        size: side of the training crops.
        minutes: of one processor core.
        arms: who takes part, by name.
        looks: how often on the way each is judged, the end included.
        elsewhere: other data that the end is judged on, too, by a name in ``pictures.DATA_SETS``.
        spoilt: whether the end is judged on spoilt sources, too, see ``shifts.CORRUPTIONS``.
    """

    title: str
    data: str
    arguments: tuple[str, ...]
    size: int
    minutes: float
    arms: Mapping[str, Arm]
    looks: int = 1
    elsewhere: tuple[str, ...] = ()
    spoilt: bool = False


FACADES = ("--task", "synthesize", "--direction", "BtoA")
"""Label map to photo."""

RETINAS = ("--task", "segment", "--source", "images", "--target", "vessels")
"""Fundus photographs to vessels."""

CELLS = ("--task", "segment", "--source", "images", "--target", "masks")
"""Microscopy to nuclei."""

STREETS = ("--task", "segment", "--source", "images", "--target", "masks", "--set", "task.options.ignore=Unlabelled")
"""Frames of a drive to eleven classes."""

NUCLEI = ("--task", "pair", "--source", "masks", "--target", "images")
"""Masks to microscopy."""

REFERENCE = Arm("pix2pix")
AUTO = Arm("auto")
DISTURBED = Arm("auto", ("data.disturb=0.5",))
"""Half of the sources darker or lighter, blurred or noisy while they are learnt from."""

BOTH = {"auto": AUTO, "pix2pix": REFERENCE}
"""Ours, and the published pix2pix as people run it: U-Net, batch 1, vanilla, L1 x 100."""

SHIFTED = {"auto": AUTO, "auto, disturbed": DISTURBED, "pix2pix": REFERENCE}
"""Who is judged on sources unlike those that were learnt from."""


BCE = "losses.adversarial=non-saturating"
AIDS = {
    "auto": AUTO,
    "frozen critic": Arm("auto", ("critic.name=frozen", "critic.options.detail=4")),
    "pretrained": Arm("auto", ("training.pretrain_share=0.1",)),
    "adaptive augmentation": Arm("auto", ("losses.augment_gap=0.1",)),
    "instance noise": Arm("auto", ("losses.instance_noise=0.1",)),
    "BCE": Arm("auto", (BCE,)),
    "BCE and LeCam": Arm("auto", (BCE, "losses.lecam_weight=0.3")),
}
"""What is said to help where pictures are few, one at a time; LeCam does not go with relativistic pairing."""

SIZES = {f"width {width}": Arm("auto", (f"generator.options.width={width}", "critic.options.width=32")) for width in (32, 48)}
"""Of the generator, all else as in ``auto``."""


def held(gamma: float) -> tuple[str, ...]:
    """R1 and R2 of a strength, by differences at half of every batch."""
    return (f"losses.r1_gamma={gamma}", f"losses.r2_gamma={gamma}", "losses.slopes=difference", "losses.slope_share=0.5")


FREE = ("losses.r1_gamma=0", "losses.r2_gamma=0", "losses.slopes=exact", "losses.slope_share=1")
"""No penalties."""

CONTENTS = {f"L1 x {weight}": Arm("auto", (f"losses.pixel_weight={weight}",)) for weight in (20, 50, 100)}
"""How much the content term weighs against the adversarial one."""

HEAVY = {"L1 x 100": CONTENTS["L1 x 100"]}
"""The content term as heavy as pix2pix has it."""

PENALTIES = {
    "none": Arm("auto", FREE),
    "none, not augmented": Arm("auto", (*FREE, "losses.augment=0")),
    "gamma 0.05": AUTO,
    "gamma 5": Arm("auto", held(5)),
}
"""R1 and R2 of three strengths, equal numbers of images."""


def ablation() -> dict[str, Arm]:
    """{U-Net, ours} x {BCE, least squares, relativistic} x {no penalty, R1 and R2} x {augmentation off, on}, all else as in ``auto``.

    The last of each is what ``auto`` has, so that its last arm is ``auto`` itself.
    The critic is that of ``auto`` throughout, for batch norm forbids the penalties. The U-Net is pix2pix's with half the width and
    pix2pix's own rate for the generator.
    """
    unet = ("generator.name=unet", "generator.options.depth=6", "generator.options.width=32", "generator_optimizer.learning_rate=2e-4")
    generators = {"U-Net": (*unet, "inference.statistics=image"), "ours": ()}
    losses = {"BCE": "non-saturating", "least squares": "least-squares", "relativistic": "relativistic"}
    penalties = {"no penalty": FREE, "R1 + R2": ()}
    augmentations = {"plain": ("losses.augment=0",), "augmented": ()}
    return {
        ", ".join((generator, loss, penalty, augmentation)): Arm(
            "auto", (*generators[generator], f"losses.adversarial={losses[loss]}", *penalties[penalty], *augmentations[augmentation])
        )
        for generator, loss, penalty, augmentation in product(generators, losses, penalties, augmentations)
    }


RACES = {
    "facades-64": Race("label map to facade, equal time", "facades-300", FACADES, 64, 10.0, BOTH, looks=5),
    "colorize-64": Race("grey to colour, equal time", "bsds500", ("--task", "colorize"), 64, 10.0, BOTH, looks=5, spoilt=True),
    "facades-128": Race(
        "label map to facade at 128 px: how much longer the published recipe takes",
        "facades-300",
        FACADES,
        128,
        20.0,
        {"auto": AUTO, "pix2pix": Arm("pix2pix", minutes=80.0)},
        looks=8,
    ),
    "ablation-64": Race("label map to facade, part by part", "facades-300", FACADES, 64, 1.5, ablation()),
    **{
        f"few-{count}": Race(
            f"label map to facade from {count} pairs",
            f"facades-{count}",
            FACADES,
            64,
            3.0,
            BOTH,
        )
        for count in (25, 50, 100, 200)
    },
    **{
        f"few-nuclei-{count}": Race(
            f"masks to microscopy from {count} pairs",
            f"microscopy-{count}",
            NUCLEI,
            64,
            2.0,
            BOTH,
        )
        for count in (25, 50, 100, 200, 400)
    },
    "penalties-64": Race("label map to facade, by the strength of R1 and R2", "facades-300", FACADES, 64, 10.0, PENALTIES, looks=5),
    "contents-64": Race("grey to colour, by the weight of L1", "bsds500", ("--task", "colorize"), 64, 4.0, CONTENTS),
    "heavy-facades-64": Race("label map to facade with L1 x 100", "facades-300", FACADES, 64, 10.0, HEAVY, looks=5),
    "aids-50": Race("label map to facade from 50 pairs, with what is said to help", "facades-50", FACADES, 64, 2.0, AIDS),
    **{
        f"sizes-{size}-{minutes}": Race(
            f"label map to facade in {minutes} minute(s) at {size} px, by small and medium networks",
            "facades-300",
            FACADES,
            size,
            minutes,
            SIZES,
        )
        for size, minutes in ((64, 1), (128, 1), (128, 3))
    },
    "shift-camera": Race(
        "retina to vessels, and the same by another camera",
        "drive",
        RETINAS,
        128,
        4.0,
        SHIFTED,
        elsewhere=("chase",),
        spoilt=True,
    ),
    "shift-stain": Race(
        "fluorescent microscopy to nuclei, and the same of stained tissue",
        "nuclei",
        CELLS,
        64,
        3.0,
        SHIFTED,
        elsewhere=("stained",),
        spoilt=True,
    ),
    "streets-128": Race("street to label map, equal time", "camvid", STREETS, 128, 4.0, BOTH, spoilt=True),
    "stable-facades": Race("label map to facade, many seeds", "facades-300", FACADES, 64, 1.0, {"auto": AUTO}),
    "stable-colours": Race("grey to colour, many seeds", "bsds500", ("--task", "colorize"), 64, 1.0, {"auto": AUTO}),
    "stable-nuclei": Race("masks to microscopy, many seeds", "nuclei", NUCLEI, 64, 1.0, {"auto": AUTO}),
}
"""By name."""
