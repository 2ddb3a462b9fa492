"""Every experiment, literally. To add one, add a row; a new kind of judgement is a function of a ``Case`` in a file of its own."""

from __future__ import annotations

from typing import Any

from benchmarks.tasks.cases import Experiment
from benchmarks.tasks.comparing import compared
from benchmarks.tasks.enlarging import enlarged
from benchmarks.tasks.measures import colorized, inpainted, restored, segmented
from benchmarks.tasks.reading import synthesized
from benchmarks.tasks.steering import edited, steered

GAN, PLAIN = ("--recipe", "pix2pix"), ("--recipe", "regression")

SMALL = ("generator.options.width=32", "training.batch_size=4")
"""The published U-Net has twice the width and a batch of one; so a step is some four times as fast."""

CRITIC = ("critic.options.width=32",)

LARGE = (
    "data.holdout=0.02",
    "data.jitter=2.0",
    "training.batch_size=8",
    "generator.options.width=48",
    "generator.options.blocks=6",
    "generator_optimizer.learning_rate=5e-4",
    "losses.pixel_weight=1",
)
"""For super-resolution: pictures of 321 rows are cut at nearly their own size."""

CAMVID = ("--task", "segment", "--source", "images", "--target", "masks")
LABELS = ("task.options.ignore=Unlabelled",)

FAST = ("generator_optimizer.learning_rate=1e-3",)
"""For classes: with the recipes' 2e-4 a run as short as these stops far from what it would reach."""

AVERAGED = ("training.ema_halflife_images=400",)

NEAR = (
    "generator.name=shuffle",
    "generator.options.width=48",
    "generator.options.blocks=6",
    "generator_optimizer.learning_rate=5e-4",
    "training.batch_size=4",
    "inference.dropout=false",
    "inference.statistics=running",
)
"""For translations that stay near their source."""


def unpaired(recipe: str, data: str, to: str, *, images: int, blocks: int) -> Experiment:
    """From one collection to another at 64 px, with narrow networks and critics of one size."""
    narrow = ("generator.options.width=24", f"generator.options.blocks={blocks}", "critic.options.width=32")
    arguments = ("--task", "stylize", "--recipe", recipe)
    return Experiment(f"{to}, by {recipe}", data, arguments, (f"task.options.to={to}", *narrow), size=64, images=images, measure=compared)


def facade(recipe: str, *, images: int, batch: int, **settings: Any) -> Experiment:
    """Label maps to facades at 64 px, with networks of a quarter of the published width."""
    critic = () if recipe == "regression" else ("critic.options.width=32",)
    narrow = ("generator.options.width=32" if recipe != "spade" else "generator.options.width=16", *critic)
    chosen = (f"training.batch_size={batch}", *(f"{key}={value}" for key, value in settings.items()))
    arguments = ("--task", "synthesize", "--direction", "BtoA", "--recipe", recipe)
    return Experiment(
        f"label map to facade, by {recipe}", "facades", arguments, (*narrow, *chosen), size=64, images=images, measure=compared
    )


def between(recipe: str, data: str, what: str, *, size: int, images: int) -> Experiment:
    """From any class to any other, with narrow networks."""
    narrow = ("generator.options.width=32", "critic.options.width=32")
    own = {
        "stargan": ("generator.options.blocks=4",),
        "starganv2": ("generator.options.hidden=128", "training.ema_halflife_images=1000"),
    }
    arguments = ("--task", "edit", "--recipe", recipe)
    return Experiment(f"{what}, by {recipe}", data, arguments, (*narrow, *own[recipe]), size=size, images=images, measure=compared)


EXPERIMENTS = {
    "superresolve": Experiment(
        "four times as large",
        "bsds500-train",
        ("--task", "super-resolve", *GAN),
        (*LARGE, "losses.adversarial_weight=0.004", "critic.options.width=24", "critic.options.layers=2"),
        size=160,
        images=6400,
        measure=enlarged,
    ),
    "inpaint": Experiment(
        "holes of 30 % filled",
        "bsds500",
        ("--task", "inpaint", *GAN),
        (
            *SMALL,
            *CRITIC,
            "task.options.least=0.3",
            "task.options.most=0.3",
            "losses.adversarial_weight=0.1",
            "generator_optimizer.learning_rate=4e-4",
            "training.ema_halflife_images=200",
        ),
        size=96,
        images=7000,
        measure=inpainted,
    ),
    "camvid-segment": Experiment(
        "street to label map",
        "camvid",
        (*CAMVID, *GAN),
        (*SMALL, *FAST, *CRITIC, *LABELS),
        size=128,
        images=2000,
        measure=segmented,
        twin="camvid-segment-plain",
    ),
    "camvid-segment-plain": Experiment(
        "street to label map, without a critic",
        "camvid",
        (*CAMVID, *PLAIN),
        (*SMALL, *FAST, *LABELS),
        size=128,
        images=2000,
        measure=segmented,
    ),
    "colorize": Experiment(
        "grey to colour",
        "bsds500",
        ("--task", "colorize", *GAN),
        (*SMALL, *CRITIC, *AVERAGED, "losses.adversarial_weight=0.3"),
        size=96,
        images=3200,
        measure=colorized,
        twin="colorize-plain",
    ),
    "colorize-plain": Experiment(
        "grey to colour, L1 alone", "bsds500", ("--task", "colorize", *PLAIN), (*SMALL, *AVERAGED), size=96, images=3200, measure=restored
    ),
    "drive-segment": Experiment(
        "retina to vessels",
        "drive",
        ("--task", "segment", "--source", "images", "--target", "vessels", *GAN),
        ("generator.options.width=16", "critic.options.width=16", "training.batch_size=2", *FAST),
        size=256,
        images=900,
        measure=segmented,
        twin="drive-segment-plain",
    ),
    "drive-segment-plain": Experiment(
        "retina to vessels, without a critic",
        "drive",
        ("--task", "segment", "--source", "images", "--target", "vessels", *PLAIN),
        ("generator.options.width=16", "training.batch_size=2", *FAST),
        size=256,
        images=900,
        measure=segmented,
    ),
    "camvid-synthesize": Experiment(
        "label map to street",
        "camvid",
        ("--task", "synthesize", "--source", "masks", "--target", "images", *GAN),
        (*SMALL, *CRITIC),
        size=128,
        images=1600,
        measure=synthesized,
        helpers=("camvid-segment-plain",),
    ),
    "facades-synthesize": Experiment(
        "label map to facade",
        "facades",
        ("--task", "synthesize", "--direction", "BtoA", *GAN),
        (*SMALL, *CRITIC),
        size=128,
        images=1600,
        measure=synthesized,
        helpers=("facades-segment-plain",),
    ),
    "facades-segment-plain": Experiment(
        "facade to label map, without a critic",
        "facades",
        ("--task", "segment", "--direction", "AtoB", *PLAIN),
        (*SMALL, *FAST),
        size=128,
        images=1200,
        measure=segmented,
    ),
    "nuclei-synthesize": Experiment(
        "mask to microscopy",
        "nuclei",
        ("--task", "synthesize", "--source", "masks", "--target", "images", *GAN),
        (*SMALL, *CRITIC),
        size=128,
        images=1600,
        measure=synthesized,
        helpers=("nuclei-segment-plain",),
    ),
    "nuclei-segment-plain": Experiment(
        "microscopy to mask, without a critic",
        "nuclei",
        ("--task", "segment", "--source", "images", "--target", "masks", *PLAIN),
        (*SMALL, *FAST),
        size=128,
        images=800,
        measure=segmented,
    ),
    "restore-jpeg": Experiment(
        "JPEG's traces removed",
        "bsds500",
        ("--task", "restore", *GAN),
        (
            "task.options.degradation=jpeg",
            "training.batch_size=8",
            "generator.options.width=32",
            "generator.options.blocks=6",
            "losses.adversarial_weight=0.2",
            "critic.options.width=24",
            "critic.options.layers=2",
        ),
        size=128,
        images=1200,
        measure=restored,
        twin="restore-jpeg-plain",
    ),
    "restore-jpeg-plain": Experiment(
        "JPEG's traces removed, L1 alone",
        "bsds500",
        ("--task", "restore", *PLAIN),
        (
            "task.options.degradation=jpeg",
            "training.batch_size=8",
            "generator.options.width=32",
            "generator.options.blocks=6",
        ),
        size=128,
        images=1200,
        measure=restored,
    ),
    "steered": Experiment(
        "mask to microscopy, steered by a sentence and a map of single nuclei",
        "nuclei-described",
        ("--task", "pair", "--condition", "text,map", *GAN),
        (*SMALL, *CRITIC, "conditions.map.edges=true", "training.condition_dropout=0.2"),
        size=96,
        images=3200,
        measure=steered,
    ),
    "edit-weather": Experiment(
        "a sky made cloudy, bright, or a sunrise", "weather", ("--task", "edit"), (), size=64, images=8000, measure=edited
    ),
    "edit-flowers": Experiment("a flower of another kind", "flowers", ("--task", "edit"), (), size=32, images=16000, measure=edited),
    "edit-animals": Experiment("an animal of another kind", "animals", ("--task", "edit"), (), size=64, images=4000, measure=edited),
    "stylize-sunrise": Experiment(
        "cloudy skies as sunrises, unpaired",
        "skies",
        ("--task", "stylize"),
        ("task.options.to=sunrise",),
        size=64,
        images=6400,
        measure=edited,
    ),
    "underwater": Experiment(
        "underwater pictures made clear",
        "euvp",
        ("--task", "pair", *GAN),
        (*NEAR, *CRITIC, "losses.adversarial_weight=0.5"),
        size=128,
        images=2000,
        measure=restored,
        twin="underwater-plain",
    ),
    "underwater-plain": Experiment(
        "underwater pictures made clear, L1 alone", "euvp", ("--task", "pair", *PLAIN), NEAR, size=128, images=2000, measure=restored
    ),
    "sunrise-cyclegan": unpaired("cyclegan", "skies", "sunrise", images=1600, blocks=4),
    "sunrise-cut": unpaired("cut", "skies", "sunrise", images=2000, blocks=4),
    "sunrise-fastcut": unpaired("fastcut", "skies", "sunrise", images=2400, blocks=4),
    "sunrise-ugatit": unpaired("ugatit", "skies", "sunrise", images=800, blocks=2),
    "stain-cyclegan": unpaired("cyclegan", "stains", "stained", images=1600, blocks=4),
    "stain-cut": unpaired("cut", "stains", "stained", images=2000, blocks=4),
    "stain-fastcut": unpaired("fastcut", "stains", "stained", images=2400, blocks=4),
    "facade-pix2pix": facade("pix2pix", images=4000, batch=4),
    "facade-pix2pixhd": facade("pix2pixhd", images=2400, batch=4, **{"generator.options.blocks": 4}),
    "facade-spade": facade("spade", images=2000, batch=4, **{"generator.options.hidden": 48}),
    "facade-bicycle": facade("bicycle", images=2400, batch=4),
    "facade-plain": facade("regression", images=6000, batch=4),
    "flowers-stargan": between("stargan", "flowers", "a flower of another kind", size=32, images=12000),
    "flowers-starganv2": between("starganv2", "flowers", "a flower of another kind", size=32, images=1600),
    "weather-stargan": between("stargan", "weather-kinds", "a sky of another kind", size=64, images=5008),
    "weather-starganv2": between("starganv2", "weather-kinds", "a sky of another kind", size=64, images=480),
}
"""By name; the order is that in which all of them are run."""
