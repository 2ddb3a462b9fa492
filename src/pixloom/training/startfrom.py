"""Going on from a model: its networks, its task and its size are the run's, and its weights the beginning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pixloom.config import NetworkConfig, TaskConfig, load_config
from pixloom.errors import ModelError
from pixloom.inference.choice import find_model
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
        critic: that lies beside it.
    """

    task: TaskConfig
    size: int
    settings: Mapping[str, Any]
    critic: NetworkConfig | None = None

    def with_critic(self, own: NetworkConfig | None, settings: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
        """The settings, with the options of the critic that comes with the model where the run has one of that name and nobody says
        others; and what becomes of that critic, in words.

        Args:
            own: the recipe's critic.
            settings: dotted keys, people's and :attr:`settings`.
        """
        if self.critic is None:
            return dict(settings), None
        name = settings.get("critic.name", own.name if own else None)
        if name != self.critic.name:
            fit = ", ".join(recipes_with(self.critic.name))
            other = f"is '{name}', which begins anew" if name else "has none"
            known = f"; --recipe {fit} would go on with it" if fit else ""
            return dict(settings), f"the critic '{self.critic.name}' of the model does not go on, for this recipe's {other}{known}"
        if any(key.startswith("critic.options") for key in settings):
            return dict(settings), f"the critic '{name}' of the model goes on where it has the options that are said"
        options = {key: value for key, value in self.critic.options.items() if key not in GIVEN_BY_DATA}
        word = f"the critic '{name}' of the model goes on, with its options, where channels and size are its own"
        return {**settings, "critic.name": name, "critic.options": options}, word


def recipes_with(critic: str) -> list[str]:
    """The recipes that play with a critic of that name.

    >>> recipes_with("multiscale")
    ['pix2pixhd', 'spade']
    """
    found = {name: recipe(name, size=256).critic for name in RECIPES}
    return [name for name, own in found.items() if own is not None and own.name == critic]


def known_of(model: str | Path) -> Known:
    """What a model folder or a run folder says of itself.

    Raises:
        ModelError: no model there, or a damaged one.
    """
    folder = find_model(Path(model))
    description, _ = read_description(folder)
    judge, run = load_judge(folder), _run_of(Path(model))
    own = load_config(run / "config.yaml").critic if run else None
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
    return Known(description.task, description.size, settings, judge.network if judge else own)


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
