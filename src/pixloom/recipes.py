"""Published combinations of method, networks and settings. Each recipe is a function of the picture size that returns a whole config."""

from __future__ import annotations

from collections.abc import Callable

from pixloom.config import DataConfig, InferenceConfig, LossConfig, NetworkConfig, OptimizerConfig, RunConfig, TrainingConfig
from pixloom.errors import ConfigError, nearest

Recipe = Callable[[int], RunConfig]


def pix2pix(size: int) -> RunConfig:
    """pix2pix, as published (Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017).

    U-Net generator, 70x70 PatchGAN, batch 1, non-saturating BCE with the critic's loss halved, L1 x 100, Adam 2e-4 (0.5, 0.999),
    resize to 286/256 of the crop and mirror, 200 epochs with the rate falling linearly over the second half. At use batch norm takes
    the statistics of each single picture and dropout stays on as the noise z (section 3.4), here with a fixed seed.

    Below 64 px (and at odd multiples of 32) the U-Net is too shallow to have a level with dropout, and the output is deterministic.

    Score to expect: facades label to photo at 256 px, 106 test pictures, standard FID 119 to 125 (mmgeneration's two figures).
    Deviation: the aspect of non-square pictures is kept (short side resized, then cropped), where the authors' code squashes them.
    """
    generator = _unet(size)
    return RunConfig(
        recipe="pix2pix",
        data=DataConfig(size=size),
        generator=generator,
        critic=NetworkConfig(name="patch", options={"layers": 3}),
        inference=InferenceConfig(statistics="image", dropout=generator.options["dropout"] > 0),
    )


def cgan(size: int) -> RunConfig:
    """The plain conditional GAN: an encoder-decoder and an image-level critic with a fully connected head.

    The generator and critic of the article that Pixloom started from, with the objective that its text defines: D(x, y) sees the
    condition, and the generator's loss is the adversarial term plus lambda times L1. (The article's code listing drops both.)
    Adam 2e-4 (0.5, 0.999) as listed; batch 8, as the listing leaves it open and running statistics need a batch.
    """
    return RunConfig(
        recipe="cgan",
        data=DataConfig(size=size),
        generator=NetworkConfig(name="encoder_decoder"),
        critic=NetworkConfig(name="image"),
        training=TrainingConfig(batch_size=8),
        inference=InferenceConfig(statistics="running"),
    )


def regression(size: int) -> RunConfig:
    """The control without a critic: the pix2pix U-Net trained on L1 alone.

    What the adversarial term must beat to have earned its place; ``pixloom evaluate --against`` sets the two side by side.
    """
    return RunConfig(
        recipe="regression",
        data=DataConfig(size=size),
        method="regression",
        generator=_unet(size),
        losses=LossConfig(pixel_weight=1.0),
        inference=InferenceConfig(statistics="image"),
    )


def stargan(size: int) -> RunConfig:
    """StarGAN, as published (Choi et al., "StarGAN: Unified GANs for Multi-Domain Image-to-Image Translation", CVPR 2018).

    ResNet generator with 6 blocks and instance norm that the wanted domain modulates (FiLM), PatchGAN of six layers without normalisation
    whose features also classify, WGAN-GP, cycle x 10, classification x 1, Adam 1e-4 (0.5, 0.999), batch 16, one generator step for five
    of the critic, mirrored crops; the rate falls linearly over the second half.

    Score to expect: RaFD expressions at 128 px, classification error of the edited pictures 2.12 % (table 2).
    Deviations: the domain is not stacked on the picture as constant planes, which instance norm behind mirrored borders subtracts (the
    authors' code lets them in through zero padding and the norm's own scale); the critic has as many layers as fit the picture where it is
    smaller than 128 px, and classifies by a mean over its last features instead of a convolution of their size; conditions are left out of
    one example in ten, so that not all need be stated.
    """
    layers = max(1, min(6, unet_depth(size) - 2))
    return RunConfig(
        recipe="stargan",
        data=DataConfig(size=size),
        method="multidomain",
        generator=NetworkConfig(name="resnet", options={"blocks": 6, "norm": "instance", "injection": "film"}),
        critic=NetworkConfig(name="patch", options={"layers": layers, "norm": "none", "conditioning": "classifier"}),
        losses=LossConfig(adversarial="wasserstein", critic_weight=1.0),
        generator_optimizer=OptimizerConfig(learning_rate=1e-4),
        critic_optimizer=OptimizerConfig(learning_rate=1e-4),
        training=TrainingConfig(batch_size=16, num_critic=5),
    )


def retouch(size: int) -> RunConfig:
    """Pixloom's own for edits and styles that stay near their source: StarGAN's game with a generator that begins as the identity.

    What StarGAN learns in its first ten thousands of pictures is to give back what it is given. The generator ``shuffle`` adds to its
    source, so it can from the start, and it works at a quarter of the size; domains modulate it (FiLM). The critic is StarGAN's with
    half the width; least squares instead of WGAN-GP, one step for each of the generator's, batch 8,
    Adam 3e-4 (0.5, 0.999).

    Score to expect: benchmarks/results/tasks/edit-weather (64 px, 8,000 pictures, minutes on one core); no published one.
    """
    stages = stargan(size)
    assert stages.critic is not None
    critic = NetworkConfig(name="patch", options={**stages.critic.options, "width": 32})
    return RunConfig(
        recipe="retouch",
        data=DataConfig(size=size),
        method="multidomain",
        generator=NetworkConfig(name="shuffle", options={"factor": 4, "blocks": 6, "injection": "film"}),
        critic=critic,
        losses=LossConfig(adversarial="least-squares", critic_weight=1.0),
        generator_optimizer=OptimizerConfig(learning_rate=3e-4),
        critic_optimizer=OptimizerConfig(learning_rate=3e-4),
        training=TrainingConfig(batch_size=8),
    )


RECIPES: dict[str, Recipe] = {"pix2pix": pix2pix, "cgan": cgan, "regression": regression, "stargan": stargan, "retouch": retouch}


def recipe(name: str, *, size: int) -> RunConfig:
    """The config of a recipe for square crops of ``size`` pixels.

    Raises:
        ConfigError: no recipe has this name, or its networks cannot take this size.

    >>> recipe("pix2pix", size=128).generator.options["depth"]
    7
    """
    if name not in RECIPES:
        raise ConfigError(f"there is no recipe '{name}'", fix=nearest(name, RECIPES))
    if size < 16 or size % 16:
        offers = sorted({max(32, size // 16 * 16), max(32, -(-size // 16) * 16)})
        raise ConfigError(
            f"a training size of {size} px does not suit the networks",
            why="sizes are multiples of 16",
            fix=" or ".join(f"--size {offer}" for offer in offers),
        )
    return RECIPES[name](size)


def unet_depth(size: int) -> int:
    """How often a U-Net can halve a picture of this size: down to 1x1 for powers of two up to 512.

    >>> [unet_depth(size) for size in (64, 96, 128, 256, 512, 1024)]
    [6, 5, 7, 8, 9, 9]
    """
    halvings = (size & -size).bit_length() - 1
    return min(halvings, 9)


def _unet(size: int) -> NetworkConfig:
    """The U-Net for a size; dropout has a place in it from depth 6 on."""
    depth = unet_depth(size)
    return NetworkConfig(name="unet", options={"depth": depth, "dropout": 0.5 if depth >= 6 else 0.0})
