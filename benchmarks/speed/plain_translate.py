"""A folder of pictures through the U-Net, as a plain script in torch.

python -m benchmarks.speed.plain_translate WEIGHTS FOLDER OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.speed.plain import UNet


def main(weights: str, folder: str, out: str) -> None:
    network = load(weights)
    Path(out).mkdir()
    for path in sorted(Path(folder).glob("*.png")):
        with Image.open(path) as picture:
            pixels = np.array(picture.convert("RGB"))
        Image.fromarray(translate(network, pixels)).save(Path(out) / path.name)


def load(weights: str) -> UNet:
    """The network, ready for use."""
    network = UNet(8, dropout=0.0)
    network.load_state_dict(torch.load(weights))
    return network.eval()


@torch.no_grad()
def translate(network: torch.nn.Module, pixels: np.ndarray) -> np.ndarray:
    """One picture, H W 3 in 8 bits."""
    values = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1
    output = network(values)[0].permute(1, 2, 0)
    translated: np.ndarray = ((output + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    return translated


if __name__ == "__main__":
    main(*sys.argv[1:])
