"""What a file of weights holds: the families of networks that are known, and the one that its tensors are strictly those of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pixloom.errors import ConfigError, ModelError, PixloomError, nearest
from pixloom.importers import (
    bicycle,
    junyanz,
    multiscale,
    pix2pixhd,
    spade,
    stargan,
    stargan2,
    superresolution,
    superresolution_critics,
)
from pixloom.importers.base import Family, Found, Role, Said
from pixloom.importers.foreign import AVERAGED, State, encoder_beside, joined, read_parts, taken_apart
from pixloom.importers.options import read_options
from pixloom.nets import build

FAMILIES: dict[str, Family] = {
    "unet": Family("the U-Net of pytorch-CycleGAN-and-pix2pix", junyanz.unet),
    "resnet": Family("the residual generator of pytorch-CycleGAN-and-pix2pix, CUT and pix2pixHD", junyanz.resnet),
    "enhancer": Family("the local enhancer of pix2pixHD", pix2pixhd.enhancer),
    "spade": Family("the generator of SPADE", spade.generator),
    "stargan": Family("the generator of StarGAN", stargan.generator),
    "stargan2": Family("generator and mapping network of StarGAN v2", stargan2.networks, joined=True),
    "stargan_critic": Family("the critic of StarGAN", stargan.critic),
    "stargan2_critic": Family("the critic of StarGAN v2", stargan2.critic),
    "bicycle": Family("the generator of BicycleGAN", bicycle.generator),
    "patch": Family("the PatchGAN critic of pytorch-CycleGAN-and-pix2pix and CUT", junyanz.patch_critic),
    "pix2pixhd_critic": Family("the critics of pix2pixHD", multiscale.pix2pixhd),
    "spade_critic": Family("the critics of SPADE", multiscale.spade),
    "bicycle_critic": Family("the critics of BicycleGAN", multiscale.bicycle),
    "pixel": Family("the 1x1 critic of pytorch-CycleGAN-and-pix2pix", junyanz.pixel_critic),
    "esrgan": Family("the generator of ESRGAN and Real-ESRGAN", superresolution.esrgan),
    "compact": Family("the compact generator of Real-ESRGAN", superresolution.compact),
    "srresnet": Family("the MSRResNet of BasicSR", superresolution.srresnet),
    "srgan": Family("the generator of SRGAN (leftthomas)", superresolution.srgan),
    "vgg": Family("the critic of SRGAN (leftthomas), ESRGAN and BasicSR", superresolution_critics.vgg),
    "unet_critic": Family("the U-Net critic of Real-ESRGAN", superresolution_critics.unet),
}
"""What is recognised, by the name that ``--as`` takes; each generator's tensors are strictly those of its network."""


def network_in(
    path: Path,
    *,
    role: Role,
    family: str | None,
    part: str | None,
    settings: Mapping[str, Any] | None = None,
    names: tuple[str, ...] = (),
) -> tuple[nn.Module, Found, tuple[str, str]]:
    """The network, what is known of it, and its family and part."""
    if family is not None and family not in FAMILIES:
        raise ConfigError(f"there is no family '{family}' of models", fix=nearest(family, FAMILIES))
    parts = read_parts(path)
    if part is not None and part not in parts | joined(parts):
        raise ConfigError(f"there is no part '{part}' in this file", where=path, fix=nearest(part, parts))
    chosen = {key: state for key, state in parts.items() if part in (None, key)}
    chosen = chosen or {key: state for key, state in parts.items() if key.rpartition(".")[0] == part}
    found = in_parts(chosen, role=role, family=family, where=path, apart=part is None)
    if not found and role == "generator" and family is None and holds_critic(path):
        raise ModelError(
            "this is a critic, which judges and does not translate",
            where=path,
            fix="import its generator; the critic comes along where it lies beside that, or by --critic FILE",
        )
    if not found:
        known = "\n    ".join(f"{name}: {each.title}" for name, each in FAMILIES.items())
        shown = ", ".join(list(next(iter(parts.values())))[:3])
        raise ModelError(
            f"there is no {role} in this file that is known here" if family is None else f"this file holds no '{family}' {role}",
            where=path,
            why=f"its tensors are named {shown} ...",
            fix=f"these are known:\n    {known}",
        )
    averaged = [each for each in found if each[1].rpartition(".")[2] in AVERAGED]
    if len(found) > 1 and len(averaged) == 1:
        found = averaged
    if len(found) > 1:
        words = ", ".join(f"{name} in '{key}'" if key else name for name, key, _ in found)
        raise ModelError("there is more than one network in this file", where=path, why=words, fix="choose with --part KEY, or --as FAMILY")
    ((name, key, one),) = found
    one = _settled(one, path, settings=settings or {}, names=names)
    return _loaded(one, where=path), one, (name, key)


def in_parts(
    parts: Mapping[str, State], *, role: Role, family: str | None, where: Path, apart: bool = True
) -> list[tuple[str, str, Found]]:
    """What is recognised in the networks of a file, or where nothing is and they may be taken ``apart``, in parts of them."""
    found = _recognised(parts, role=role, family=family, where=where)
    if found or not apart:
        return found
    split = {f"{key}.{name}".lstrip("."): state for key, whole in parts.items() for name, state in taken_apart(whole).items()}
    return _recognised(split, role=role, family=family, where=where)


def _settled(found: Found, path: Path, *, settings: Mapping[str, Any], names: tuple[str, ...]) -> Found:
    """What it is, once it is known what people and the options beside it say.

    Raises:
        ModelError: something that has to be said is not, or it is a network that cannot be had.
    """
    if found.settle is None:
        return found
    try:
        settled = found.settle(Said({**read_options(path).settings, **settings}, names, partial(encoder_beside, path)))
        return replace(settled, asks=found.asks)
    except ModelError as error:
        raise ModelError(error.what, where=error.where or path, why=error.why, fix=error.fix) from error


def _recognised(parts: Mapping[str, State], *, role: Role, family: str | None, where: Path) -> list[tuple[str, str, Found]]:
    """(family, part, what it is) of everything that is recognised.

    Raises:
        ModelError: there is nothing but what looks like something known, and cannot be had.
    """
    rows, refused = [], []
    together = joined(parts)
    for name, known in FAMILIES.items():
        if family not in (None, name):
            continue
        for key, state in (together if known.joined else parts).items():
            try:
                found = known.recognise(state)
            except PixloomError as error:
                refused.append(ModelError(f"this looks like {known.title}, but {error.what}", where=where, why=error.why, fix=error.fix))
                continue
            except (KeyError, IndexError, ValueError) as error:
                why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
                refused.append(ModelError(f"this looks like {known.title}, but is not whole", where=where, why=why, fix="fetch it again"))
                continue
            if found is not None and found.role == role:
                rows.append((name, key, found))
    if refused and not rows:
        raise refused[0]
    return rows


def _loaded(found: Found, *, where: Path) -> nn.Module:
    """The network with exactly these tensors."""
    with torch.device("meta"):
        network = build(found.name, found.options)
    try:
        network.load_state_dict({name: tensor.contiguous() for name, tensor in found.state.items()}, strict=True, assign=True)
    except RuntimeError as error:
        lines = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise ModelError("the tensors are not those of the network that they seem to be of", where=where, why=lines) from error
    return network.eval()


def holds_critic(path: Path) -> bool:
    """Whether a critic that is known here is in a file."""
    try:
        return bool(in_parts(read_parts(path), role="critic", family=None, where=path))
    except PixloomError:
        return False
