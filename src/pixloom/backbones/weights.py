"""Where the weights of feature networks lie, and how the published files become ours."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from torch import Tensor

from pixloom.backbones.trunks import alexnet, inception, squeezenet, vgg16, vgg19
from pixloom.errors import DependencyError, ModelError
from pixloom.files import cache_folder

SQUEEZENET = "squeezenet1_1_features_torchvision.safetensors"
ALEXNET = "alexnet_features_torchvision.safetensors"
VGG16 = "vgg16_features_relu2_2_torchvision.safetensors"
VGG19 = "vgg19_features_relu5_1_torchvision.safetensors"
HEADS = "lpips_heads_v0.1.safetensors"
INCEPTION = "inception_v3_2015_trunk_mixed7a_fp16.safetensors"

State = dict[str, Tensor]
Network = TypeVar("Network", bound=torch.nn.Module)


@dataclass(frozen=True)
class Published:
    """A file as its authors publish it.

    Attributes:
        url: its official address.
        becomes: the name of our file that takes its weights.
        convert: from its tensors to ours.
    """

    url: str
    becomes: str
    convert: Callable[[State], State]


def weights_folders(folder: Path | str | None = None) -> list[Path]:
    """Where weights are sought, first to last: the given folder, ``$PIXLOOM_WEIGHTS``, the user's cache."""
    places = [folder, os.environ.get("PIXLOOM_WEIGHTS"), _cache()]
    return [Path(place).expanduser() for place in places if place]


def find_weights(name: str, *, folder: Path | str | None = None) -> Path | None:
    """The first file of that name in :func:`weights_folders`, or None.

    >>> find_weights("no-such-file.safetensors", folder="no-such-folder") is None
    True
    """
    return next((place / name for place in weights_folders(folder) if (place / name).is_file()), None)


def need_weights(name: str, *, folder: Path | str | None = None) -> Path:
    """The file of that name.

    Raises:
        DependencyError: it is nowhere; says where it was sought and how to get it.
    """
    found = find_weights(name, folder=folder)
    if found:
        return found
    urls = " and ".join(published.url for published in PUBLISHED.values() if published.becomes == name)
    raise DependencyError(
        f"the weights {name} are not here",
        where="sought in " + ", ".join(map(str, weights_folders(folder))),
        fix=f"give the folder that holds them with --weights or PIXLOOM_WEIGHTS; or download {urls} and run 'pixloom weights FOLDER'",
    )


def load_weights(path: Path) -> State:
    """The tensors of a safetensors file, or of one that torch wrote (read with the restricted loader), in single precision.

    Raises:
        ModelError: the file is damaged.
    """
    try:
        if path.suffix == ".safetensors":
            tensors = safetensors.torch.load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.float() for name, tensor in tensors.items()}
    except (OSError, EOFError, RuntimeError, AttributeError, TypeError, pickle.UnpicklingError, safetensors.SafetensorError) as error:
        raise ModelError("cannot read the weights", where=path, why=str(error), fix="fetch the file again") from error


def load_into(network: Network, state: Mapping[str, Tensor], *, where: object = None) -> Network:
    """The network, frozen and in evaluation mode, with those tensors of ``state`` that it has names for.

    Raises:
        ModelError: a tensor is missing or of another shape.
    """
    try:
        # Assigned, so that a network that was outlined on the meta device gets its weights, too.
        network.load_state_dict({name: state[name].to(own.dtype) for name, own in network.state_dict().items()}, assign=True)
    except (KeyError, RuntimeError) as error:
        raise ModelError("the weights do not fit their network", where=where, why=str(error), fix="fetch the file again") from error
    return network.requires_grad_(requires_grad=False).eval()


def import_weights(source: Path | str, *, target: Path | str | None = None) -> list[Path]:
    """Convert the published files in a folder (or one such file) into the safetensors files that metrics read.

    They are recognised by their official names, the keys of :data:`PUBLISHED`, and read with the restricted loader.

    Args:
        source: a folder that holds some of them, or one of them.
        target: where to write; None: the user's cache.

    Returns:
        The files written, which replace those of the same name.

    Raises:
        DependencyError: none of the files is there.
        ModelError: a file is damaged or holds another network.
    """
    source, target = Path(source), Path(target) if target else _cache()
    files = [path for path in ([source] if source.is_file() else sorted(source.glob("*.pth"))) if path.name in PUBLISHED]
    if not files:
        wanted = ", ".join(published.url for published in PUBLISHED.values())
        if converted := sorted(source.glob("*.safetensors")):
            raise DependencyError(
                "these weights are brought in already",
                where=source,
                why=f"there are {', '.join(path.name for path in converted)}",
                fix="use them where they are: --weights FOLDER, or $PIXLOOM_WEIGHTS",
            )
        raise DependencyError("no published weights are here", where=source, fix=f"download any of {wanted}; keep the file names")
    target.mkdir(parents=True, exist_ok=True)
    return sorted({_import_file(path, target) for path in files})


def _import_file(path: Path, target: Path) -> Path:
    published = PUBLISHED[path.name]
    try:
        tensors = published.convert(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, EOFError, RuntimeError, AttributeError, TypeError, KeyError, pickle.UnpicklingError) as error:
        raise ModelError("cannot read the published weights", where=path, why=str(error), fix=f"download {published.url} again") from error
    output = target / published.becomes
    if output.is_file() and published.becomes == HEADS:
        tensors = safetensors.torch.load_file(output) | tensors
    partial = output.with_suffix(".partial")
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)
    partial.replace(output)
    return output


def _from_squeezenet(state: State) -> State:
    return dict(load_into(squeezenet(), state).state_dict())


def _from_alexnet(state: State) -> State:
    return dict(load_into(alexnet(), state).state_dict())


def _from_vgg16(state: State) -> State:
    return dict(load_into(vgg16(), state).state_dict())


def _from_vgg19(state: State) -> State:
    return dict(load_into(vgg19(), state).state_dict())


def _from_heads(net: str) -> Callable[[State], State]:
    return lambda state: {f"{net}.{name.split('.')[0]}.weight": state[name] for name in state}


def _from_inception(state: State) -> State:
    """Fold batch norm (eps 1e-3) into each convolution and keep what the metrics use, in half precision."""
    folded = {}
    for layer in (name.removesuffix(".conv.weight") for name in state if name.endswith(".conv.weight")):
        scale = state[f"{layer}.bn.weight"] / (state[f"{layer}.bn.running_var"] + 1e-3).sqrt()
        folded[f"{layer}.weight"] = state[f"{layer}.conv.weight"] * scale[:, None, None, None]
        folded[f"{layer}.bias"] = state[f"{layer}.bn.bias"] - state[f"{layer}.bn.running_mean"] * scale
    return {name: tensor.half() for name, tensor in load_into(inception(768), folded).state_dict().items()}


def _cache() -> Path:
    return cache_folder() / "weights"


_LPIPS = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1"

PUBLISHED = {
    "squeezenet1_1-b8a52dc0.pth": Published("https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth", SQUEEZENET, _from_squeezenet),
    "alexnet-owt-7be5be79.pth": Published("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", ALEXNET, _from_alexnet),
    "vgg16-397923af.pth": Published("https://download.pytorch.org/models/vgg16-397923af.pth", VGG16, _from_vgg16),
    "vgg19-dcbb9e9d.pth": Published("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", VGG19, _from_vgg19),
    "squeeze.pth": Published(f"{_LPIPS}/squeeze.pth", HEADS, _from_heads("squeeze")),
    "alex.pth": Published(f"{_LPIPS}/alex.pth", HEADS, _from_heads("alex")),
    "pt_inception-2015-12-05-6726825d.pth": Published(
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        INCEPTION,
        _from_inception,
    ),
}
"""The published files by their official names."""
