"""The settings of a run: frozen, typed, complete; YAML in, resolved YAML out. No torch here.

A recipe (``pixloom.recipes``) returns a whole :class:`RunConfig`; the command line then overrides single keys by their dotted
name. Every key is known by its model below, so an unknown one is an error that names the nearest right one.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pixloom.errors import ConfigError, nearest

Direction = Literal["AtoB", "BtoA"]
Statistics = Literal["running", "image"]


TEXT_LENGTH = 32
"""Words of a text that networks read."""

REFERENCE_SIDE = 64
"""Side in pixels of the square that a reference picture is brought to: what is wanted of it does not lie in its details."""


MOST_MINUTES = 1e7


class Section(BaseModel):
    """A frozen group of settings in which unknown keys are forbidden, and values are not bent to fit (true is no 1)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)


class TaskConfig(Section):
    """What is translated into what."""

    name: str = Field("pair", description="a name in pixloom.tasks.TASKS")
    direction: Direction | None = Field(None, description="which side of a pair is the source; None means AtoB where it applies")
    options: dict[str, Any] = Field(default_factory=dict, description="settings of the task by name, see docs/tasks.md")


class DataConfig(Section):
    """Where the pictures are and how they become examples."""

    path: str = Field("", description="a folder of pictures or an index file (.csv, .jsonl)")
    layout: str = Field("auto", description="a name in pixloom.data.sources.LAYOUTS, or auto")
    source_folder: str | None = Field(None, description="name of the folder of source pictures, when there are more than two")
    target_folder: str | None = Field(None, description="name of the folder of target pictures")
    size: int = Field(256, ge=8, le=4096, description="side of the square training crop, in pixels")
    jitter: float = Field(
        286 / 256, ge=1.0, le=16.0, description="pictures are loaded with their short side at size * jitter, then cropped at random"
    )
    flip: bool = Field(True, description="mirror half of the examples")
    disturb: float = Field(
        0.0, ge=0.0, le=1.0, description="share of the sources that are learnt from darker or lighter, blurred or noisy; targets stay"
    )
    holdout: float = Field(
        0.1, ge=0.0, lt=1.0, description="share of the training pictures set aside for validation when the data has no validation split"
    )
    cache_gib: float = Field(2.0, ge=0.0, description="decoded pictures are kept in memory, as many as fit in this much")
    device_gib: float = Field(4.0, ge=0.0, description="with CUDA, examples are kept on the card when they all fit in this much")
    first_size: int | None = Field(
        None,
        ge=8,
        le=4096,
        description="train small, finish large: start with crops of this side and double it in equal shares of the run up to data.size",
    )


class NetworkConfig(Section):
    """A network by its name in ``pixloom.nets.NETWORKS`` and the options of its constructor."""

    name: str = Field(description="a name in pixloom.nets.NETWORKS")
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the network's constructor by name")


class LossConfig(Section):
    """Which terms are in the objective, and their weights."""

    adversarial: str = Field("non-saturating", description="a name in pixloom.losses.adversarial.ADVERSARIAL")
    pixel: str = Field("l1", description="a name in pixloom.losses.pixels.PIXEL")
    adversarial_weight: float = Field(1.0, ge=0.0, description="weight of the generator's adversarial term")
    pixel_weight: float = Field(100.0, ge=0.0, description="lambda, the weight of the content term")
    classification_weight: float = Field(1.0, ge=0.0, description="weight of what the critic's classifier makes of the conditions")
    cycle_weight: float = Field(10.0, ge=0.0, description="without pairs: weight of the way there and back")
    identity_weight: float = Field(0.0, ge=0.0, description="without pairs: weight of the translation into what the picture shows already")
    feature_weight: float = Field(0.0, ge=0.0, description="weight of feature matching: the critic's activations, real against made")
    perceptual_weight: float = Field(0.0, ge=0.0, description="weight of what a network trained on photographs sees")
    perceptual: str = Field(
        "squeeze", description="that network, a name in pixloom.backbones.perception.PERCEPTIONS, or the path of its weights"
    )
    perceptual_normalised: bool = Field(
        True, description="it is shown pictures normalised as it was trained; off: as they are, the habit of pix2pixHD and SPADE"
    )
    kl_weight: float = Field(0.01, ge=0.0, description="codes: weight of their divergence from N(0, 1)")
    latent_weight: float = Field(0.5, ge=0.0, description="codes: weight of the code that is read again off what was made with it")
    mode_seeking_weight: float = Field(0.0, ge=0.0, description="noise: weight of how little two answers differ (MSGAN)")
    style_weight: float = Field(1.0, ge=0.0, description="styles: weight of the style that is read again off what was made with it")
    diversity_weight: float = Field(1.0, ge=0.0, description="styles: weight of how much two answers differ; falls to zero over the run")
    attention_weight: float = Field(1000.0, ge=0.0, description="class activation: weight of which collection a picture is seen to be of")
    nce_weight: float = Field(1.0, ge=0.0, description="contrastive: weight of how well places are told apart")
    nce_identity: bool = Field(True, description="contrastive: half of it for pictures of the wanted collection, which are to stay")
    flip_equivariance: bool = Field(False, description="contrastive: half of the batches go through mirrored (FastCUT)")
    critic_weight: float = Field(0.5, gt=0.0, description="weight of the critic's own terms (pix2pix halves them)")
    gradient_penalty_weight: float | None = Field(None, ge=0.0, description="WGAN-GP's lambda; None: 10 for wasserstein, else 0")
    r1_gamma: float = Field(0.0, ge=0.0, description="R1's gamma: half the squared slope of the critic at real pictures")
    r2_gamma: float = Field(0.0, ge=0.0, description="R2's gamma: the same at made ones")
    slopes: Literal["exact", "difference"] = Field(
        "exact", description="slopes by a second derivative, or by a difference, which goes with compiled critics and takes less memory"
    )
    slope_share: float = Field(
        1.0, gt=0.0, le=1.0, description="share of every batch at which slopes are taken: what others call lazy, spread over all steps"
    )
    augment: float = Field(
        0.0, ge=0.0, le=1.0, description="share of the pairs that the critic sees shifted and recoloured, real and made alike"
    )
    augment_gap: float | None = Field(
        None,
        gt=0.0,
        lt=0.5,
        description="that share rises after each look at which the critic ranks right at so much more of the places of pictures that it "
        "knows than of held-out ones, and falls after others; None: it stays",
    )
    instance_noise: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="deviation of the noise on what the critic sees, of pictures in [-1, 1]; falls to zero over the run",
    )
    lecam_weight: float = Field(
        0.0, ge=0.0, description="LeCam: weight of how far the critic's logits are from the average ones of the other kind"
    )


class OptimizerConfig(Section):
    """Adam (Kingma and Ba, 2015)."""

    learning_rate: float = Field(2e-4, gt=0.0, description="step size before any decay")
    beta1: float = Field(0.5, ge=0.0, lt=1.0, description="decay of the mean of the gradient")
    beta2: float = Field(0.999, ge=0.0, lt=1.0, description="decay of the mean of its square")


class TrainingConfig(Section):
    """The length, order and rhythm of training. Progress and every interval are counted in images seen."""

    images: int | None = Field(None, gt=0, description="images to be seen in all; None: from the recipe's epochs and the data")
    minutes: float | None = Field(
        None, gt=0.0, lt=MOST_MINUTES, description="wall-clock budget; images is then estimated from measured steps"
    )
    epochs: float = Field(200.0, gt=0.0, description="passes over the data when neither images nor minutes is given")
    batch_size: int = Field(1, ge=1, description="images per update over all processes")
    batch_scaling: Literal["none", "sqrt", "linear"] = Field(
        "none", description="learning rates times sqrt(batch_size / the recipe's), or times the ratio itself; none: as they are set"
    )
    num_critic: int = Field(1, ge=1, description="critic updates per generator update (n_critic)")
    seed: int = Field(0, ge=0, lt=2**31, description="of everything random: the same seed gives the same run")
    decay_start: float = Field(0.5, ge=0.0, le=1.0, description="share of the run after which the learning rate falls to zero")
    decay: Literal["linear", "cosine"] = Field("linear", description="how it falls: along a line, or half a cosine")
    ema_halflife_images: float | None = Field(None, gt=0.0, description="half-life of the averaged generator; None: no averaging")
    ema_share: float | None = Field(
        None, gt=0.0, le=1.0, description="the half-life is at most this share of the images seen so far; None: it does not grow"
    )
    from_model: str | None = Field(None, description="a model or a run whose weights are the beginning; None: they are drawn by chance")
    pretrain_share: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="share of the run, at its start, in which the generator learns alone, by the content terms, from sources of which "
        "half is hidden in squares",
    )
    condition_dropout: float = Field(
        0.1, ge=0.0, lt=1.0, description="share of the examples that are learnt without a condition, so that it need not be given at use"
    )
    clip_norm: float | None = Field(None, gt=0.0, description="largest gradient norm; None: no clipping")
    pool_images: int = Field(
        0,
        ge=0,
        le=10_000,
        description="so many made pictures are kept, and the critic is shown one of them instead of every second new one",
    )
    log_every_images: int = Field(50, gt=0, description="losses are written so often")
    preview_every_images: int | None = Field(None, gt=0, description="None: 20 times in the run, at least 50 images apart")
    validate_every_images: int | None = Field(
        None, gt=0, description="None: 10 times in the run, at least 50 images, and 8 for each validation picture, apart"
    )
    checkpoint_every_images: int | None = Field(None, gt=0, description="None: about every five minutes; and always at the end")
    autopilot: bool = Field(False, description="what the watchman finds is mended where a setting can, at most three times")
    keep_checkpoints: int = Field(2, ge=1, description="so many of the newest checkpoints are kept")
    best_metric: str = Field(
        "auto", description="validation metric that chooses the best model; auto: lpips where its weights are found, else ssim"
    )


class ComputeConfig(Section):
    """How the same mathematics is computed: what is fast differs by machine, so ``auto`` means as ``pixloom tune`` measured here."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto, cpu, cuda or mps")
    precision: Literal["auto", "no", "bf16"] = Field("auto", description="no, or bf16 for mixed precision; auto: as tuned, else no")
    memory_format: Literal["auto", "contiguous", "channels_last"] = Field(
        "auto", description="order of a picture's numbers in memory: contiguous or channels_last; auto: as tuned, else contiguous"
    )
    compile: Literal["auto", "no", "default", "reduce-overhead"] = Field(
        "auto", description="torch.compile of the networks, by its mode (reduce-overhead: CUDA graphs); auto: as tuned, else no"
    )
    threads: int | None = Field(None, ge=1, description="CPU threads of the networks; None: as tuned, else torch's own choice")
    accumulate: int = Field(1, ge=1, description="a batch is worked through in so many parts: less memory, the generator runs twice")
    recompute_activations: bool = Field(False, description="activations are computed anew in the backward pass: less memory, more time")
    keep_heap: bool = Field(True, description="on Linux CPUs the process keeps its memory between steps instead of giving it back")


class InferenceConfig(Section):
    """How the trained generator is run; stored in the model, never chosen by accident."""

    statistics: Statistics = Field("running", description="batch norm uses running statistics, or those of each single picture")
    dropout: bool = Field(False, description="dropout stays on as the noise z (seeded, so the same picture gives the same output)")


class RunConfig(Section):
    """Everything that defines a run."""

    recipe: str = Field(description="the name in pixloom.recipes.RECIPES that this started from")
    task: TaskConfig = TaskConfig()
    data: DataConfig = DataConfig()
    conditions: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="what steers the translation besides the source, by kind, see docs/conditions.md"
    )
    method: str = Field("conditional", description="a name in pixloom.methods.METHODS")
    generator: NetworkConfig
    critic: NetworkConfig | None = None
    losses: LossConfig = LossConfig()
    generator_optimizer: OptimizerConfig = OptimizerConfig()
    critic_optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    compute: ComputeConfig = ComputeConfig()
    inference: InferenceConfig = InferenceConfig()


def override(config: RunConfig, settings: Mapping[str, Any]) -> RunConfig:
    """The config with some keys replaced by their dotted names, validated anew.

    A network that is replaced by its name starts without options, for those of the former one are not its own.

    Args:
        config: to start from.
        settings: such as ``{"training.batch_size": 4, "generator.options.width": 32}``.

    Raises:
        ConfigError: an unknown key (with the nearest right one) or a value out of range.
    """
    tree = config.model_dump()
    names = {key: value for key, value in settings.items() if key in ("generator.name", "critic.name")}
    for key, name in names.items():
        role = key.partition(".")[0]
        if (tree[role] or {}).get("name") != name:
            tree[role] = {"name": name, "options": {}}
    for key, value in settings.items():
        if key not in names:
            _assign(tree, key, value)
    return validate(tree)


def parse_settings(texts: list[str]) -> dict[str, Any]:
    """Read ``section.key=value`` texts; values are YAML scalars or lists.

    >>> parse_settings(["training.batch_size=4", "losses.pixel=l2", "critic_optimizer.learning_rate=1e-4", "compute.precision=no"])
    {'training.batch_size': 4, 'losses.pixel': 'l2', 'critic_optimizer.learning_rate': 0.0001, 'compute.precision': 'no'}

    Raises:
        ConfigError: no such text, no YAML, or one key twice.
    """
    from pixloom.yamltext import read_yaml

    settings: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"cannot read the setting '{text}'", fix="write --set section.key=value, e.g. --set training.batch_size=4")
        try:
            parsed = read_yaml(value)
        except ValueError as error:
            raise ConfigError(
                f"cannot read the value of '{text}'", why=str(error), fix="quote it, e.g. --set 'section.key=\"text\"'"
            ) from error
        if key.strip() in settings:
            raise ConfigError(f"the setting '{key.strip()}' is given twice", fix="give one --set for each key")
        settings[key.strip()] = parsed
    return settings


def validate(tree: Mapping[str, Any], *, where: object = None) -> RunConfig:
    """A config from a plain tree; every error names the key and what was expected."""
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise unknown_key(key, where=where) from error
        if first["type"] == "missing":
            raise ConfigError(f"the setting '{key}' is missing", where=where, fix=_describe(key)) from error
        raise ConfigError(
            f"the setting '{key}' cannot be {reprlib.repr(first['input'])}", where=where, why=first["msg"], fix=_describe(key)
        ) from error


def unknown_key(key: str, *, where: object = None) -> ConfigError:
    """The error for a key that no setting has."""
    return ConfigError(f"there is no setting '{key}'", where=where, fix=nearest(key, known_keys()))


def known_keys(model: type[BaseModel] = RunConfig, prefix: str = "") -> list[str]:
    """Dotted names of every setting."""
    keys = []
    for name, field in model.model_fields.items():
        inner = _section_of(field.annotation)
        keys += known_keys(inner, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return keys


def load_config(path: Path) -> RunConfig:
    """Read a YAML config file."""
    from pixloom.yamltext import read_yaml

    try:
        tree = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            "cannot read the config file", where=path, why=str(error), fix="restore it, or start from the config.yaml of another run"
        ) from error
    if not isinstance(tree, dict):
        raise ConfigError("the config file is not a YAML mapping", where=path, fix="start from the config.yaml of a run")
    return validate(_renamed(tree), where=path)


def _renamed(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree of an older run with the names that its settings have now."""
    training, compute = tree.get("training"), tree.get("compute", {})
    if isinstance(training, dict) and isinstance(compute, dict):
        moved = {name: training[name] for name in ("device", "precision") if name in training}
        rest = {name: value for name, value in training.items() if name not in moved}
        return {**tree, "training": rest, "compute": moved | compute} if moved else tree
    return tree


def dump_config(config: RunConfig) -> str:
    """The resolved config as YAML, keys in their declared order."""
    from pixloom.yamltext import write_yaml

    return write_yaml(json.loads(config.model_dump_json()))


def _assign(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set one dotted key in a dumped config; the options of a network, and conditions, accept new names."""
    *sections, last = key.split(".")
    node, opened = tree, False
    for section in sections:
        if section not in node and opened:
            node[section] = {}
        if not isinstance(node.get(section), dict):
            raise unknown_key(key)
        opened = opened or section in ("options", "conditions")
        node = node[section]
    if last not in node and not opened:
        raise unknown_key(key)
    node[last] = value


def _section_of(annotation: Any) -> type[Section] | None:
    candidates = (annotation, *get_args(annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, Section)), None)


def _describe(key: str) -> str:
    """What a key means, for the error about its value."""
    model: type[BaseModel] = RunConfig
    for part in key.split("."):
        field = model.model_fields.get(part)
        inner = None if field is None else _section_of(field.annotation)
        if inner is None:
            return f"{key}: {field.description}" if field and field.description else "see pixloom.config for what it means"
        model = inner
    return f"set one of its keys: {', '.join(f'{key}.{name}' for name in model.model_fields)}"
