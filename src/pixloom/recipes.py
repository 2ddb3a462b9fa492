"""Published combinations of method, networks and settings. Each recipe is a function of the picture size that returns a whole config."""

from __future__ import annotations

from collections.abc import Callable

from pixloom.config import ComputeConfig, DataConfig, InferenceConfig, LossConfig, NetworkConfig, OptimizerConfig, RunConfig, TrainingConfig
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


def auto(size: int) -> RunConfig:
    """Pixloom's own for pairs: networks without batch statistics, a relativistic game, an average that can be used at any time.

    A residual U-shape (``nets.residual``), whose layers learn at equal rates, and a critic of the same blocks, which sees fine detail
    enlarged; real and made pictures of one source are compared (relativistic pairing, Huang et al., "R3GAN", 2024), weak R1 and R2 by
    differences at half of every batch, paired augmentation of half of what the critic sees, L1 x 20; batch 2, Adam 1e-3 (0.5, 0.99),
    gradients of at most norm 1, the rate flat and then half a cosine to zero; the generator's average has a half-life of 5 % of the images
    seen, so a run may be stopped whenever one likes.

    The penalties' gamma is between what facades want (none) and what masks of nuclei do (5): see docs/log.md.

    Score to expect: docs/log.md has the runs that it was chosen by, beside pix2pix given the same time; no published one.
    """
    halvings = max(2, min(5, unet_depth(size) - 2))
    return RunConfig(
        recipe="auto",
        data=DataConfig(size=size),
        generator=NetworkConfig(name="residual_unet", options={"halvings": halvings, "width": 48}),
        critic=NetworkConfig(name="residual", options={"layers": min(3, halvings), "detail": 4.0}),
        losses=LossConfig(
            adversarial="relativistic",
            pixel_weight=20.0,
            critic_weight=1.0,
            r1_gamma=0.05,
            r2_gamma=0.05,
            slopes="difference",
            slope_share=0.5,
            augment=0.5,
        ),
        generator_optimizer=OptimizerConfig(learning_rate=1e-3, beta2=0.99),
        critic_optimizer=OptimizerConfig(learning_rate=1e-3, beta2=0.99),
        training=TrainingConfig(batch_size=2, decay_start=0.6, decay="cosine", ema_halflife_images=10_000.0, ema_share=0.05, clip_norm=1.0),
        compute=ComputeConfig(memory_format="channels_last"),
    )


def twin(size: int) -> RunConfig:
    """The control of ``auto``: the same generator, trained as there, by L1 alone.

    What the critic must beat to have earned its place. ``pixloom evaluate --against`` sets the two side by side, and a run of ``auto`` that
    finds its twin finished beside it says so when it is no better.
    """
    base = auto(size)
    alone = {"recipe": "twin", "method": "regression", "critic": None, "losses": LossConfig(pixel_weight=1.0)}
    return base.model_copy(update={**alone, "critic_optimizer": OptimizerConfig()})


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

    ResNet generator with 6 blocks and instance norm that the wanted domain modulates (FiLM), the critic of six layers, which judges patches
    and classifies the whole, WGAN-GP, cycle x 10, classification x 1, Adam 1e-4 (0.5, 0.999), batch 16, one generator step for five of the
    critic, mirrored crops; the rate falls linearly over the second half.

    Score to expect: RaFD expressions at 128 px, classification error of the edited pictures 2.12 % (table 2).
    Deviations: the domain is not stacked on the picture as constant planes, which instance norm behind mirrored borders subtracts (the
    authors' code lets them in through zero padding and the norm's own scale); the critic has as many layers as fit the picture where it is
    smaller than 128 px; conditions are left out of one example in ten, so that not all need be stated.
    """
    return RunConfig(
        recipe="stargan",
        data=DataConfig(size=size),
        method="multidomain",
        generator=NetworkConfig(name="resnet", options={"blocks": 6, "norm": "instance", "injection": "film"}),
        critic=NetworkConfig(name="stargan", options={"layers": min(6, unet_depth(size) - 1)}),
        losses=LossConfig(adversarial="wasserstein", critic_weight=1.0),
        generator_optimizer=OptimizerConfig(learning_rate=1e-4),
        critic_optimizer=OptimizerConfig(learning_rate=1e-4),
        training=TrainingConfig(batch_size=16, num_critic=5),
    )


def retouch(size: int) -> RunConfig:
    """Pixloom's own for edits and styles that stay near their source: StarGAN's game with a generator that begins as the identity.

    What StarGAN learns in its first ten thousands of pictures is to give back what it is given. The generator ``shuffle`` adds to its
    source, so it can from the start, and it works at a quarter of the size; domains modulate it (FiLM). The critic is a PatchGAN
    of half the usual width without normalisation, whose mean features also classify; least squares instead of WGAN-GP, one step for each of
    the generator's, batch 8, Adam 3e-4 (0.5, 0.999).

    Score to expect: benchmarks/results/tasks/edit-weather (64 px, 8,000 pictures, minutes on one core); no published one.
    """
    layers = max(1, min(6, unet_depth(size) - 2))
    return RunConfig(
        recipe="retouch",
        data=DataConfig(size=size),
        method="multidomain",
        generator=NetworkConfig(name="shuffle", options={"factor": 4, "blocks": 6, "injection": "film"}),
        critic=NetworkConfig(name="patch", options={"layers": layers, "norm": "none", "conditioning": "classifier", "width": 32}),
        losses=LossConfig(adversarial="least-squares", critic_weight=1.0),
        generator_optimizer=OptimizerConfig(learning_rate=3e-4),
        critic_optimizer=OptimizerConfig(learning_rate=3e-4),
        training=TrainingConfig(batch_size=8),
    )


def pix2pixhd(size: int) -> RunConfig:
    """pix2pixHD, as published (Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", CVPR 2018).

    The global ResNet generator (four halvings, nine blocks), from 512 px on within the local enhancer; two critics at two scales, least
    squares, feature matching and a perceptual term in place of L1; batch 1, Adam 2e-4 (0.5, 0.999), 200 epochs with the rate falling over
    the second half. Instance edges are the condition ``map`` with ``edges=true``; the instance-feature encoder is the condition ``style``
    with ``of_objects=true`` and ``code=3`` beside it.

    Score to expect: Cityscapes label to photo at 1024 x 512, PSPNet mIoU 0.64 (table 1). Deviations: sums over scales and layers are
    means, so their weights 1, 10 and 10 are 1, 20 and 7 here; the perceptual term looks through SqueezeNet unless
    ``losses.perceptual=vgg16``, and is left out where no weights are found; global generator and enhancer are trained together; fewer
    halvings below 128 px; the encoder has no instance norm, and looks are read off a reference, not drawn from clusters.
    """
    halvings = max(2, min(4, unet_depth(size) - 3))
    return RunConfig(
        recipe="pix2pixhd",
        data=DataConfig(size=size),
        generator=NetworkConfig(name="resnet" if size < 512 else "enhancer", options={"halvings": halvings, "norm": "instance"}),
        critic=NetworkConfig(name="multiscale", options={"layers": _scale_layers(size), "norm": "instance"}),
        losses=LossConfig(adversarial="least-squares", pixel_weight=0.0, feature_weight=20.0, perceptual_weight=7.0),
    )


def spade(size: int) -> RunConfig:
    """GauGAN, as published (Park et al., "Semantic Image Synthesis with Spatially-Adaptive Normalization", CVPR 2019).

    The label map modulates every normalisation of a generator that begins at a 32nd of the size; two critics at two scales with spectral
    and instance norm, hinge loss, feature matching, a perceptual term; Adam (0, 0.9) with 1e-4 for the generator and 4e-4 for the critic,
    200 epochs. ``--condition style,noise`` gives many answers, drawn or in the style of a reference (the paper's encoder and KL term);
    ``--set critic.name=segmenting`` is the critic of OASIS.

    Score to expect: ADE20K mIoU 38.5, FID 33.9; Cityscapes 62.3, 71.8 (table 1). Deviations: batch 4 instead of 32; the perceptual term as
    in ``pix2pixhd``; means for sums, so that 10 and 10 are 40 and 15, and KL x 0.05 over a code of 8 and a batch of 4 is 1.6; a constant
    rate as for COCO.
    """
    options = {"layers": _scale_layers(size), "norm": "instance", "spectral": True}
    return RunConfig(
        recipe="spade",
        data=DataConfig(size=size),
        generator=NetworkConfig(name="spade", options={"levels": max(2, min(5, unet_depth(size) - 2))}),
        critic=NetworkConfig(name="multiscale", options=options),
        losses=LossConfig(
            adversarial="hinge", pixel_weight=0.0, feature_weight=40.0, perceptual_weight=15.0, kl_weight=1.6, critic_weight=1.0
        ),
        generator_optimizer=OptimizerConfig(learning_rate=1e-4, beta1=0.0, beta2=0.9),
        critic_optimizer=OptimizerConfig(learning_rate=4e-4, beta1=0.0, beta2=0.9),
        training=TrainingConfig(batch_size=4, decay_start=1.0),
    )


def bicycle(size: int) -> RunConfig:
    """BicycleGAN, as published (Zhu et al., "Toward Multimodal Image-to-Image Translation", NeurIPS 2017): many answers to one source.

    The pix2pix U-Net with a code of 8 numbers, read off the target or drawn, two critics, least squares, L1 x 10, latent x 0.5, KL x 0.01,
    batch 2, Adam 2e-4 (0.5, 0.999), 200 epochs with the rate falling over the second half. Answers differ by ``--seed``, ``--samples`` and
    ``--reference``.

    Score to expect: maps to satellite, AMT 34.3 %, LPIPS between answers 0.110 (table 1). Deviations: the code modulates every
    normalisation (FiLM) instead of being stacked on every map, and those are instance norms; each critic is one PatchGAN that sees the
    source, not two scales that do not; the encoder is three convolutions on 64 px instead of a ResNet; KL is a mean over the code, so 0.01
    is 0.08 here; no dropout.
    """
    depth = unet_depth(size)
    generator = {"depth": depth, "norm": "instance", "dropout": 0.0, "noise_channels": 8, "injection": "film"}
    return RunConfig(
        recipe="bicycle",
        data=DataConfig(size=size),
        conditions={"style": {"code": 8}},
        method="bicycle",
        generator=NetworkConfig(name="unet", options=generator),
        critic=NetworkConfig(name="patch", options={"layers": 3, "norm": "instance"}),
        losses=LossConfig(adversarial="least-squares", pixel_weight=10.0, kl_weight=0.08, latent_weight=0.5),
        training=TrainingConfig(batch_size=2),
    )


def cyclegan(size: int) -> RunConfig:
    """CycleGAN, as published (Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017).

    Two ResNet generators (six blocks, nine from 256 px on) and two 70x70 critics, least squares, cycle x 10, identity x 5, a pool of 50
    pictures, batch 1, Adam 2e-4 (0.5, 0.999), 200 epochs with the rate falling over the second half. Both directions are in the model:
    ``translate --direction BtoA``. Without checkerboards: ``--set generator.options.antialias=true``.

    Score to expect: horse to zebra at 256 px, FID 62 to 77 by protocol; facades label to photo 124 (the authors' weights, judged by
    others).
    """
    options = {"blocks": 6 if size < 256 else 9, "norm": "instance"}
    return RunConfig(
        recipe="cyclegan",
        data=DataConfig(size=size),
        method="cycle",
        generator=NetworkConfig(name="resnet", options=options),
        critic=NetworkConfig(name="patch", options={"layers": 3, "norm": "instance"}),
        losses=LossConfig(adversarial="least-squares", identity_weight=5.0),
        training=TrainingConfig(pool_images=50),
    )


def ugatit(size: int) -> RunConfig:
    """U-GAT-IT, its light form (Kim et al., "U-GAT-IT: Unsupervised Generative Attentional Networks", ICLR 2020): shapes may change.

    CycleGAN's game with class-activation attention in generators and critics and AdaLIN; least squares, cycle x 10, identity x 10,
    attention x 1000, batch 1, Adam 1e-4 (0.5, 0.999), the rate falling over the second half.

    Score to expect: selfie to anime, KID x 100 of 11.6 (table 2). Deviations: the two critics' terms are a mean, with twice the weight; no
    weight decay; the far-seeing critic has seven layers from 256 px on, fewer below.
    """
    layers = max(4, min(7, unet_depth(size) - 1))
    return RunConfig(
        recipe="ugatit",
        data=DataConfig(size=size),
        method="cycle",
        generator=NetworkConfig(name="ugatit"),
        critic=NetworkConfig(name="attention", options={"local_layers": min(5, layers - 1), "global_layers": layers}),
        losses=LossConfig(adversarial="least-squares", adversarial_weight=2.0, identity_weight=10.0, critic_weight=2.0),
        generator_optimizer=OptimizerConfig(learning_rate=1e-4),
        critic_optimizer=OptimizerConfig(learning_rate=1e-4),
    )


def cut(size: int) -> RunConfig:
    """CUT, as published (Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020): one direction, no cycle.

    A ResNet generator with antialiased resampling, the 70x70 critic, least squares, PatchNCE x 1 in halves of sources and of pictures that
    are to stay as they are, batch 1, Adam 2e-4 (0.5, 0.999), 400 epochs with the rate falling over the second half.

    Score to expect: horse to zebra at 256 px, FID 45.5 (the best epoch; the last one 61 to 68), cat to dog 76.2 (table 1).
    Deviations: six blocks below 256 px.
    """
    options = {"blocks": 6 if size < 256 else 9, "norm": "instance", "antialias": True}
    return RunConfig(
        recipe="cut",
        data=DataConfig(size=size),
        method="contrastive",
        generator=NetworkConfig(name="resnet", options=options),
        critic=NetworkConfig(name="patch", options={"layers": 3, "norm": "instance"}),
        losses=LossConfig(adversarial="least-squares"),
        training=TrainingConfig(epochs=400.0),
    )


def fastcut(size: int) -> RunConfig:
    """FastCUT (Park et al., 2020, section 4): CUT without the half for pictures that are to stay, PatchNCE x 10, mirrored, 200 epochs.

    Score to expect: horse to zebra at 256 px, FID 73.4, cat to dog 94.0 (table 1).
    """
    base = cut(size)
    return base.model_copy(
        update={
            "recipe": "fastcut",
            "losses": LossConfig(adversarial="least-squares", nce_weight=10.0, nce_identity=False, flip_equivariance=True),
            "training": TrainingConfig(epochs=200.0, decay_start=0.75),
        }
    )


def sincut(size: int) -> RunConfig:
    """SinCUT (Park et al., 2020, section 4.3 and appendix C.4): a picture in the style of one other, from two pictures alone.

    Small crops of pictures that are loaded at eight times their size; narrow networks, non-saturating loss with R1, PatchNCE x 4, batch
    16, Adam 2e-3 (0, 0.99). Give two folders with a picture each, and ``--size 64``.

    No score is published. Deviations: CUT's ResNet with 16 channels instead of a StyleGAN2 generator, and a PatchGAN without
    normalisation; no L1 identity.
    """
    return RunConfig(
        recipe="sincut",
        data=DataConfig(size=size, jitter=8.0, holdout=0.0),
        method="contrastive",
        generator=NetworkConfig(name="resnet", options={"blocks": 6, "width": 16, "norm": "instance", "antialias": True}),
        critic=NetworkConfig(name="patch", options={"layers": 2, "width": 32, "norm": "none"}),
        losses=LossConfig(nce_weight=4.0, r1_gamma=1.0),
        generator_optimizer=OptimizerConfig(learning_rate=2e-3, beta1=0.0, beta2=0.99),
        critic_optimizer=OptimizerConfig(learning_rate=2e-3, beta1=0.0, beta2=0.99),
        training=TrainingConfig(batch_size=16, epochs=100_000.0),
    )


def starganv2(size: int) -> RunConfig:
    """StarGAN v2, as published (Choi et al., "StarGAN v2: Diverse Image Synthesis for Multiple Domains", CVPR 2020).

    Domains with many answers: styles are drawn (``--seed``, ``--samples``) or read off a reference (``--reference``). Non-saturating loss
    with R1 (gamma 1), style x 1, diversity x 1 falling to zero, cycle x 1, batch 8, Adam 1e-4 (0, 0.99), the mapping at a hundredth of the
    rate, an average of half-life 5,500 images (0.999 a step).

    Score to expect: CelebA-HQ at 256 px, FID 13.7 and LPIPS between answers 0.452 with drawn styles (table 2); for AFHQ, 16.2 and 0.450,
    diversity has the weight 2. Deviations: no weight decay; one update for drawn and read styles; no landmark masks for faces. At 256 px
    it has the paper's width; narrower: ``--set generator.options.width=32 --set critic.options.width=32``.
    """
    depth, width = unet_depth(size), min(512, 2**14 // size)
    return RunConfig(
        recipe="starganv2",
        data=DataConfig(size=size),
        conditions={"style": {"code": 64}},
        method="styles",
        generator=NetworkConfig(name="stargan2", options={"halvings": max(1, depth - 4), "width": width}),
        critic=NetworkConfig(name="domains", options={"halvings": max(1, min(6, depth - 2)), "width": width}),
        losses=LossConfig(cycle_weight=1.0, r1_gamma=1.0, critic_weight=1.0),
        generator_optimizer=OptimizerConfig(learning_rate=1e-4, beta1=0.0, beta2=0.99),
        critic_optimizer=OptimizerConfig(learning_rate=1e-4, beta1=0.0, beta2=0.99),
        training=TrainingConfig(batch_size=8, decay_start=1.0, ema_halflife_images=5500.0, condition_dropout=0.0),
    )


RECIPES: dict[str, Recipe] = {
    "auto": auto,
    "twin": twin,
    "pix2pix": pix2pix,
    "cgan": cgan,
    "regression": regression,
    "pix2pixhd": pix2pixhd,
    "spade": spade,
    "bicycle": bicycle,
    "cyclegan": cyclegan,
    "ugatit": ugatit,
    "cut": cut,
    "fastcut": fastcut,
    "sincut": sincut,
    "stargan": stargan,
    "starganv2": starganv2,
    "retouch": retouch,
}


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


def _scale_layers(size: int) -> int:
    """Layers of critics at two scales: three, and fewer where the smaller scale has no room for them.

    >>> [_scale_layers(size) for size in (32, 64, 256)]
    [1, 2, 3]
    """
    return 3 if size >= 96 else 2 if size >= 48 else 1


def _unet(size: int) -> NetworkConfig:
    """The U-Net for a size; dropout has a place in it from depth 6 on."""
    depth = unet_depth(size)
    return NetworkConfig(name="unet", options={"depth": depth, "dropout": 0.5 if depth >= 6 else 0.0})
