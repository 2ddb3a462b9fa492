"""Other programs' models at their published sizes, with random weights, against forward passes that were written from their layout alone.

The layouts and the passes are those of the tests (tests/peers*.py); no weights of other people are needed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixloom.importers import import_critic, import_model
from pixloom.importers.back import export_weights
from pixloom.modelfile import load_model
from pixloom.nets.layers import set_inference

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))

import peers  # noqa: E402
import peers_more  # noqa: E402
import peers_sr  # noqa: E402

State = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """One network of another program.

    Attributes:
        title: of it, with its size.
        state: its tensors, or those of several networks by name.
        wanted: what it computes of them and of the inputs.
        source: the shape of what it reads.
        channels: of which our network reads so many, (source - ours).
        said: what ``import_model`` is told.
        given: conditions for our network.
        noise: length of its noise.
        scale: by which it enlarges; ours then reads the enlarged picture.
        back: whether it is written back for its program, too.
        labels: whether it reads planes of labels.
        critic: whether it judges a candidate of three channels after its source; what it computes is then a list of logits.
    """

    title: str
    state: Callable[[], Any]
    wanted: Callable[[Any, Tensor, Tensor | None], Tensor]
    source: tuple[int, ...] = (1, 3, 256, 256)
    said: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Tensor] = field(default_factory=dict)
    noise: int = 0
    scale: int = 1
    back: bool = False
    labels: bool = False
    critic: bool = False


def classes(count: int) -> dict[str, Any]:
    """What is said of a model of label maps."""
    return {"settings": {"classes": count}}


def one_by_one(judge: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    """The verdicts on pictures, each by its own statistics."""
    return torch.cat([judge(picture) for picture in pictures.split(1)])


RESNET = {"blocks": 9, "halvings": 2, "norm": "instance", "dropout": False, "antialias": False}
GLOBAL = {"halvings": 4, "blocks": 9, "norm": "instance"}
ENHANCER = {"halvings": 4, "blocks": 9, "local": 3, "norm": "instance"}
TWO_SCALES = {"program": "features", "scales": 2, "layers": 3, "norm": "instance"}
SPADE_SCALES = {**TWO_SCALES, "program": "spade"}
BICYCLE_SCALES = {**TWO_SCALES, "program": "bicycle"}
UNET = {"depth": 8, "norm": "batch"}
HAIR = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
FIRST = torch.tensor([[1.0, 0.0, 0.0]])

CASES = (
    Case("pytorch-CycleGAN-and-pix2pix, U-Net-256", lambda: peers.peer_unet_state(3, 3, width=64, **UNET),
         lambda s, x, z: peers.peer_unet(s, x, **UNET), back=True),
    Case("pytorch-CycleGAN-and-pix2pix, ResNet-9", lambda: peers.peer_resnet_state(3, 3, width=64, **RESNET),
         lambda s, x, z: peers.peer_resnet(s, x, **RESNET), back=True),
    Case("CUT, ResNet-9 with low-pass resampling", lambda: peers.peer_resnet_state(3, 3, width=64, **{**RESNET, "antialias": True}),
         lambda s, x, z: peers.peer_resnet(s, x, **{**RESNET, "antialias": True})),
    Case("pytorch-CycleGAN-and-pix2pix, PatchGAN critic", lambda: peers.peer_patch_state(6, layers=3, width=64, norm="batch"),
         lambda s, x, z: [peers.peer_patch(s, x, layers=3, norm="batch")], critic=True),
    Case("CUT, PatchGAN critic with low-pass halving",
         lambda: peers.peer_patch_state(3, layers=3, width=64, norm="instance", antialias=True),
         lambda s, x, z: [peers.peer_patch(s, x, layers=3, norm="instance", antialias=True)], source=(1, 0, 256, 256), critic=True),
    Case("pix2pixHD, two critics, labels", lambda: peers_more.peer_scales_state(36 + 3, width=64, **TWO_SCALES),
         lambda s, x, z: peers_more.peer_scales(s, x, **TWO_SCALES), source=(1, 36, 256, 512), said=classes(36), labels=True, critic=True),
    Case("SPADE, two critics, labels", lambda: peers_more.peer_scales_state(35 + 3, width=64, spectral=True, **SPADE_SCALES),
         lambda s, x, z: peers_more.peer_scales(s, x, **SPADE_SCALES), source=(1, 35, 256, 256), said=classes(35), labels=True,
         critic=True),
    Case("BicycleGAN, two critics", lambda: peers_more.peer_scales_state(3, width=64, **BICYCLE_SCALES),
         lambda s, x, z: peers_more.peer_scales(s, x, **BICYCLE_SCALES), source=(1, 0, 256, 256), critic=True),
    Case("pix2pixHD, global, labels", lambda: peers_more.peer_global_state(36, 3, width=64, **GLOBAL),
         lambda s, x, z: peers_more.peer_global(s, x, **GLOBAL), source=(1, 36, 256, 512), said=classes(36), labels=True),
    Case("pix2pixHD, local enhancer, labels", lambda: peers_more.peer_enhancer_state(36, 3, width=32, **ENHANCER),
         lambda s, x, z: peers_more.peer_enhancer(s, x, **ENHANCER), source=(1, 36, 256, 512), said=classes(36), labels=True),
    Case("SPADE, from labels", lambda: peers_more.peer_spade_state(35, width=64, hidden=128),
         lambda s, x, z: peers_more.peer_spade(s, x, levels=5), source=(1, 35, 256, 256), said=classes(35), labels=True),
    Case("SPADE with its style encoder", lambda: {"G": peers_more.peer_spade_state(35, width=64, hidden=128, noise=256, places=64),
                                                  "E": peers_more.peer_spade_encoder_state(width=64, code=256)},
         lambda s, x, z: peers_more.peer_spade(s["G"], x, levels=5, start=(8, 8), z=peers_more.peer_spade_code(s["E"], reference(x.dtype))),
         source=(1, 35, 256, 256), said=classes(35), given={"style": torch.empty(0)}, noise=256, labels=True),
    Case("StarGAN, 5 attributes", lambda: peers_more.peer_stargan_state(5, width=64, blocks=6),
         lambda s, x, z: peers_more.peer_stargan(s, x, torch.tensor([[0.0, 1, 0, 0, 1]]).to(x), blocks=6), source=(1, 3, 128, 128),
         said={"names": HAIR}, given={"attributes": torch.tensor([[-1.0, 1, -1, -1, 1, 1, 1, 1, 1, 1]])}),
    Case("StarGAN v2, a drawn style", lambda: peers_more.peer_stargan2_state(3, width=64, halvings=4, code=64, noise=16, hidden=512),
         lambda s, x, z: peers_more.peer_stargan2(s, x, z, 0), said={"names": ("cat", "dog", "wild")}, given={"label": FIRST}, noise=16),
    Case("StarGAN v2, the style of a reference",
         lambda: peers_more.peer_stargan2_state(3, width=64, halvings=4, code=64, noise=16, hidden=512),
         lambda s, x, z: peers_more.peer_stargan2(
             s, x, z, 0, style=peers_more.peer_stargan2_style(s["style_encoder"], reference(x.dtype), 0)),
         said={"names": ("cat", "dog", "wild")}, given={"label": FIRST, "style": torch.empty(0)}, noise=16),
    Case("StarGAN, critic for 5 attributes at 128 px",
         lambda: peers_more.peer_stargan_critic_state(5, width=64, layers=6, side=128),
         lambda s, x, z: [peers_more.peer_stargan_critic(s, x)[0]], source=(1, 0, 128, 128), critic=True),
    Case("StarGAN v2, critic for 3 domains at 256 px", lambda: peers_more.peer_stargan2_critic_state(3, width=64, halvings=6),
         lambda s, x, z: [peers_more.peer_stargan2_critic(s, x)[:, :1]], source=(2, 0, 256, 256), given={"label": FIRST.expand(2, 3)},
         critic=True),
    Case("BicycleGAN, noise at every level", lambda: peers_more.peer_bicycle_state(3, 3, depth=8, width=64, norm="batch", noise=8),
         lambda s, x, z: peers_more.peer_bicycle(s, x, z, depth=8, norm="batch"), noise=8),
    Case("ESRGAN, RRDB-23, x4", lambda: peers_sr.peer_esrgan_state(blocks=23, width=64, growth=32),
         lambda s, x, z: peers_sr.peer_esrgan(s, x, blocks=23), source=(1, 3, 64, 64), scale=4),
    Case("Real-ESRGAN compact, x4", lambda: peers_sr.peer_compact_state(width=64, depth=32),
         lambda s, x, z: peers_sr.peer_compact(s, x, depth=32), source=(1, 3, 64, 64), scale=4),
    Case("MSRResNet (BasicSR), x4", lambda: peers_sr.peer_srresnet_state(width=64, blocks=16),
         lambda s, x, z: peers_sr.peer_srresnet(s, x, blocks=16), source=(1, 3, 64, 64), scale=4),
    Case("SRGAN (leftthomas), x4", lambda: peers_sr.peer_srgan_state(width=64, blocks=5),
         lambda s, x, z: peers_sr.peer_srgan(s, x, blocks=5), source=(1, 3, 64, 64), scale=4),
    Case("SRGAN (leftthomas), critic", lambda: peers_sr.peer_vgg_state("srgan", layers=4, width=64, hidden=1024),
         lambda s, x, z: [one_by_one(lambda y: peers_sr.peer_vgg(s, y, "srgan", layers=4), (x + 1) / 2)], source=(4, 0, 88, 88),
         critic=True),
    Case("ESRGAN, first critic, 128 px", lambda: peers_sr.peer_vgg_state("first", width=64, hidden=100),
         lambda s, x, z: [one_by_one(lambda y: peers_sr.peer_vgg(s, y, "first"), (x + 1) / 2)], source=(4, 0, 128, 128), critic=True),
    Case("BasicSR, VGG-style critic, 256 px", lambda: peers_sr.peer_vgg_state("basicsr", layers=6, width=64, hidden=100),
         lambda s, x, z: [one_by_one(lambda y: peers_sr.peer_vgg(s, y, "basicsr", layers=6), (x + 1) / 2)],
         source=(4, 0, 256, 256), critic=True),
    Case("Real-ESRGAN, U-Net critic", lambda: peers_sr.peer_unet_critic_state(width=64),
         lambda s, x, z: [peers_sr.peer_unet_critic(s, (x + 1) / 2)], source=(1, 0, 256, 256), critic=True),
)  # fmt: skip


def measured() -> list[dict[str, Any]]:
    """The largest difference of each on random inputs, and whether what is written back equals what came in."""
    rows = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as place, torch.no_grad():
            rows.append(of_case(case, Path(place)))
            print(rows[-1], flush=True)
    return rows


def of_case(case: Case, place: Path) -> dict[str, Any]:
    """One row; differences in single and in double precision, in which roundings of sums in another order all but vanish."""
    state, file = case.state(), place / "latest_net_G.pth"
    save(state, place)
    own = sum(tensor.numel() for tensor in tensors_of(state) if tensor.is_floating_point())
    network, back = import_critic(file, **case.said).eval() if case.critic else None, None
    if network is None:
        found = import_model(file, out=place / "model", **case.said)
        network, about = load_model(found.folder)
        set_inference(network, statistics=about.inference.statistics, dropout=False)
        back = same(state, export_weights(found.folder, out=place / "back.pth").path) if case.back else None
    single, double = (compared(case, cast(state, kind), network.to(kind), kind) for kind in (torch.float32, torch.float64))
    return {"title": case.title, "values": own, "single": single[0], "double": double[0], "spread": single[1], "back": back}


def compared(case: Case, state: Any, network: torch.nn.Module, kind: torch.dtype) -> tuple[float, float]:
    """The largest difference, and the deviation of what is wanted."""
    source = one_hot(case.source) if case.labels else drawn(*case.source, seed=1)
    source = ((source + 1) / 2 if case.scale > 1 else source).to(kind)
    noise = torch.randn(1, case.noise, generator=seeded(3)).to(kind) if case.noise else None
    if case.critic:
        return judged(case, state, network, source)
    wanted = case.wanted(state, source, noise)
    given = {name: reference(kind) if name == "style" else value.to(kind) for name, value in case.given.items()}
    output = network(ours(case, source), given or None, noise)
    output = output / 2 + 0.5 if case.scale > 1 else output
    return float((output - wanted).abs().max()), float(wanted.std())


def judged(case: Case, state: Any, network: torch.nn.Module, source: Tensor) -> tuple[float, float]:
    """The same of a critic, over its logits at every scale."""
    set_inference(network, statistics="image", dropout=False)
    candidate = drawn(case.source[0], 3, *case.source[2:], seed=2).to(source)
    wanted = case.wanted(state, torch.cat([source, candidate], 1), None)
    given = {name: value.to(source) for name, value in case.given.items()}
    logits = network(ours(case, source), candidate, given or None).logits
    return max(float((one - other).abs().max()) for one, other in zip(logits, wanted, strict=True)), float(wanted[0].std())


def cast(state: Any, kind: torch.dtype) -> Any:
    """Its tensors in a precision."""
    if isinstance(state, dict):
        return {name: cast(value, kind) for name, value in state.items()}
    return state.to(kind) if state.is_floating_point() else state


def ours(case: Case, source: Tensor) -> Tensor:
    """What our network reads where theirs reads ``source``."""
    if case.scale > 1:
        return 2 * peers_sr.repeated(source, case.scale) - 1
    if not case.labels:
        return source
    return torch.cat([2 * source - 1, torch.full_like(source[:, :1], -1)], 1)  # and one plane of pixels of no class


def save(state: Any, place: Path) -> None:
    """As their programs do."""
    if "E" in state:
        torch.save(state["E"], place / "latest_net_E.pth")
    torch.save(state.get("G", state), place / "latest_net_G.pth")


def same(state: State, path: Path) -> bool:
    """Whether a file holds exactly these tensors."""
    written = torch.load(path, weights_only=True)
    return written.keys() == state.keys() and all(torch.equal(written[name], tensor) for name, tensor in state.items())


def tensors_of(state: Any) -> list[Tensor]:
    """All of them."""
    return [tensor for value in state.values() for tensor in (tensors_of(value) if isinstance(value, dict) else [value])]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(*shape: int, seed: int) -> Tensor:
    """Values in [-1, 1]."""
    return torch.rand(*shape, generator=seeded(seed)) * 2 - 1


def reference(kind: torch.dtype) -> Tensor:
    """The picture that styles are read off."""
    return drawn(1, 3, 256, 256, seed=2).to(kind)


def one_hot(shape: tuple[int, ...]) -> Tensor:
    """A label map of squares, as ones and zeros."""
    labels = torch.randint(shape[1], (1, shape[2] // 16, shape[3] // 16), generator=seeded(1))
    planes = torch.nn.functional.one_hot(labels, shape[1]).permute(0, 3, 1, 2).float()
    return planes.repeat_interleave(16, 2).repeat_interleave(16, 3)
