"""Going on from a model: its networks, its task and its size are the run's, and its weights the beginning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pixloom.config import NetworkConfig, RunConfig, TaskConfig, load_config
from pixloom.errors import ModelError
from pixloom.inference.choice import find_model
from pixloom.methods import METHODS
from pixloom.methods.base import ANCHORS, generator_of
from pixloom.modelfile import BACK, Judge, load_judge, load_model, read_description
from pixloom.nets import NETWORKS
from pixloom.nets.team import acting, returning
from pixloom.recipes import RECIPES, recipe
from pixloom.training.learner import Learner
from pixloom.training.state import list_checkpoints, read_checkpoint

if TYPE_CHECKING:
    from pixloom.training.plan import Plan

GIVEN_BY_DATA = ("source_channels", "target_channels", "size", "conditions")
"""Options of a generator that follow from the data, with which they must agree."""


@dataclass(frozen=True)
class Known:
    """What a model says of the run that goes on from it.

    Attributes:
        task: what it translates.
        size: in pixels.
        settings: dotted keys, unless a person says otherwise.
        model: where it lies.
        channels: of the generator's source and target.
    """

    task: TaskConfig
    size: int
    settings: Mapping[str, Any]
    model: Path
    channels: tuple[int, int]

    def with_critic(self, usual: RunConfig, settings: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
        """The settings, with the options of the critic that comes with the model where the run has one of that name, which is shown the
        same, and nobody says others; and what becomes of that critic, in words.

        Args:
            usual: the recipe.
            settings: dotted keys, people's and :attr:`settings`.
        """
        name = settings.get("critic.name", usual.critic.name if usual.critic else None)
        critic = None if name is None else _critic_with(self.model)
        if critic is None:
            return dict(settings), None
        if name != critic.name or not _is_shown(critic, usual, channels=self.channels):
            fit = ", ".join(self.recipes())
            known = f"; --recipe {fit} would go on with it" if fit else ""
            return dict(settings), f"the critic '{critic.name}' of the model does not go on, '{name}' begins anew{known}"
        if any(key.startswith("critic.options") for key in settings):
            return dict(settings), f"the critic '{name}' of the model goes on where it has the options that are said"
        options = {key: value for key, value in critic.options.items() if key not in GIVEN_BY_DATA}
        word = f"the critic '{name}' of the model goes on, with its options, where channels and size are its own"
        return {**settings, "critic.name": name, "critic.options": options}, word

    def recipes(self) -> list[str]:
        """The recipes that go on with the critic that comes with the model, and ask no condition of its generator that it has not."""
        critic, steered = _critic_with(self.model), self.settings.get("conditions", {})
        if critic is None:
            return []
        usual = {name: recipe(name, size=256) for name in RECIPES}
        alike = {name: each for name, each in usual.items() if each.critic is not None and each.critic.name == critic.name}
        return [
            name
            for name, each in alike.items()
            if each.conditions.keys() <= steered.keys() and _is_shown(critic, each, channels=self.channels)
        ]


def _critic_with(model: Path) -> NetworkConfig | None:
    """The critic that comes with a model: from the file beside it, or from its run, whose data give its channels."""
    judge, run = load_judge(find_model(model)), _run_of(model)
    return judge.network if judge else load_config(run / "config.yaml").critic if run else None


def _is_shown(critic: NetworkConfig, usual: RunConfig, *, channels: tuple[int, int]) -> bool:
    """Whether a recipe shows a critic what it was built for: pairs, or candidates alone, of the channels of the generator.

    What is not known of it, of a run's, and sources that it does not look at anyway, do not count.
    """
    source, target = (critic.options.get(key) for key in ("source_channels", "target_channels"))
    pairs = METHODS[usual.method].learns_from == "pairs"
    wanted = channels[0] if pairs else 0
    looks = getattr(NETWORKS[critic.name], "sees_source", True)
    return target in (None, channels[1]) and (source in (None, wanted) or not looks)


def known_of(model: str | Path) -> Known:
    """What a model folder or a run folder says of itself.

    Raises:
        ModelError: no model there, or a damaged one.
    """
    folder = find_model(Path(model))
    description, _ = read_description(folder)
    options = {name: value for name, value in description.generator.options.items() if name not in GIVEN_BY_DATA}
    settings = {
        "training.from_model": str(model),
        "generator.name": description.generator.name,
        "generator.options": options,
        "inference.statistics": description.inference.statistics,
        "inference.dropout": description.inference.dropout,
        **{f"task.options.{name}": value for name, value in description.task.options.items()},
        **({"conditions": description.conditions} if description.conditions else {}),
    }
    channels = description.generator.options["source_channels"], description.generator.options["target_channels"]
    return Known(description.task, description.size, settings, Path(model), channels)


def _run_of(model: Path) -> Path | None:
    """The run that a model is of, where that is at hand."""
    folder = find_model(model)
    return next((place for place in (model, folder.parent) if (place / "config.yaml").is_file()), None)


def lineage(model: str | Path) -> dict[str, Any]:
    """What a model's card says of the one that it was begun from: its name, weights and recipe, and what it was imported from."""
    folder = find_model(Path(model))
    description, sha256 = read_description(folder)
    name = folder.parent.name if folder.name == "model" else folder.name
    imported = {"imported": description.facts["imported"]} if "imported" in description.facts else {}
    return {"model": name, "sha256": sha256, "recipe": description.recipe, **imported}


def check_fits(plan: Plan) -> None:
    """Refuse a model whose weights are not of this run's generator, before anything is made.

    Raises:
        ModelError: they are not, or there is no model.
    """
    model = plan.config.training.from_model
    if model is None:
        return
    found, _ = load_model(find_model(Path(model)))
    with torch.device("meta"):
        generator = generator_of(plan.config, plan.network_channels)
    _put(found.state_dict(), acting(generator), where=model, assign=True)


def begin_with(learner: Learner, model: str | Path) -> str:
    """Put a model's weights into a learner: of both directions where both have them, and of its critics; what was done, in words.

    Critics are those of a run that is at hand, or of the files beside an imported model, where they are those of the learner.

    Raises:
        ModelError: no model there, or its networks are not the learner's.
    """
    folder = find_model(Path(model))
    networks = [learner.generator, *([learner.ema.network] if learner.ema else [])]
    found, _ = load_model(folder)
    back = load_model(folder / BACK)[0] if (folder / BACK).is_dir() and returning(learner.generator) is not None else None
    for network in networks:
        _put(found.state_dict(), acting(network), where=model)
        if back is not None and (other := returning(network)) is not None:
            _put(back.state_dict(), other, where=model)
    word = f"begun with {'the generator' if back is None else 'both generators'}"
    if learner.critic is None:
        return f"{word} of {model}"
    if (run := _run_of(Path(model))) is not None and _critic_of(run, learner.critic):
        return f"{word} and {'the critic' if returning(learner.critic) is None else 'the critics'} of {model}"
    judges = [load_judge(folder), *([load_judge(folder / BACK)] if returning(learner.critic) is not None else [])]
    if judges[0] is None:
        return f"{word} of {model}{'; the critic begins anew, for its run has another' if run else ''}"
    critics = [critic for critic in (acting(learner.critic), returning(learner.critic)) if critic is not None]
    against = [_against(judge, critic) for judge, critic in zip(judges, critics, strict=True)]
    if any(against):
        return f"{word} of {model}; its critic begins anew: {next(why for why in against if why)}"
    for judge, critic in zip(judges, critics, strict=True):
        assert judge is not None
        critic.load_state_dict(judge.tensors, strict=False)  # but for LeCam's averages, which are this run's
    return f"{word} and {'the critics' if len(critics) > 1 else 'the critic'} of {model}"


def _against(judge: Judge | None, critic: nn.Module) -> str | None:
    """Why a critic beside a model is not that of the run; None where it is, in kind, options and tensors."""
    if judge is None:
        return "there is none beside the model of the way back"
    if NETWORKS.get(judge.network.name) is not type(critic):
        return f"the one beside the model is '{judge.network.name}', which this run's is not"
    own: Mapping[str, Any] = getattr(critic, "options", {})
    for key, value in judge.network.options.items():
        if key not in GIVEN_BY_DATA and own.get(key) != value:
            return f"the one beside the model has {key}={value}, this run's {key}={own.get(key)}"
    shapes = {name: tensor.shape for name, tensor in critic.state_dict().items() if name != ANCHORS}
    if shapes != {name: tensor.shape for name, tensor in judge.tensors.items()}:
        sizes = {key: (judge.network.options.get(key), own.get(key)) for key in GIVEN_BY_DATA if key in judge.network.options}
        differing = [f"{key}={theirs}, this run's {key}={ours}" for key, (theirs, ours) in sizes.items() if theirs != ours]
        return f"the one beside the model has {differing[0] if differing else 'tensors of other shapes'}"
    return None


def _put(state: Mapping[str, torch.Tensor], network: nn.Module, *, where: str | Path, assign: bool = False) -> None:
    try:
        network.load_state_dict(state, strict=True, assign=assign)
    except RuntimeError as error:
        lines = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise ModelError(
            "the generator of this run is not the model's",
            where=where,
            why=lines,
            fix="leave generator.options alone, and give data with the same channels and conditions",
        ) from error


def _critic_of(run: Path, critic: nn.Module) -> bool:
    """Whether the newest checkpoint of a run holds such a critic, whose weights are then taken."""
    there = list_checkpoints(run / "checkpoints") if (run / "checkpoints").is_dir() else []
    if not there:
        return False
    tensors = read_checkpoint(there[-1]).tensors
    state = {key.removeprefix("critic/"): value for key, value in tensors.items() if key.startswith("critic/")}
    own = critic.state_dict()
    if state.keys() != own.keys() or any(state[name].shape != own[name].shape for name in own):
        return False
    critic.load_state_dict(state)
    return True
