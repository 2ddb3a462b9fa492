"""Made pictures of earlier steps, which the critic is shown again so that it does not only know the generator's newest ways."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pixloom.shapes import Images


class Pool:
    """The last made pictures, as many as fit: each new one is shown, or in half of the cases takes the place of one that is shown instead.

    Shrivastava et al., "Learning from Simulated and Unsupervised Images through Adversarial Training", CVPR 2017, section 2.3; Zhu et al.,
    "CycleGAN", 2017, section 4, with 50 pictures. Chance is torch's own generator, which every step seeds anew. Of several processes each
    has a pool of its own, and a checkpoint holds that of the first.

    Args:
        size: how many pictures it holds.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.pictures: Tensor | None = None
        self.count = 0

    @torch.no_grad()
    def exchanged(self, made: Images) -> Images:
        """Pictures to be shown in place of new ones; a picture that is not finite is never kept."""
        if self.pictures is None or self.pictures.shape[1:] != made.shape[1:]:
            self.pictures, self.count = made.new_zeros(self.size, *made.shape[1:]), 0
        self.pictures = self.pictures.to(made)
        return torch.stack([self._one(picture) for picture in made])

    def _one(self, new: Tensor) -> Tensor:
        assert self.pictures is not None, "made by exchanged"
        place, shows_new = self.count, True
        if self.count == self.size:
            place, shows_new = int(torch.randint(self.size, ())), bool(torch.rand(()) < 0.5)
            if shows_new:
                return new
        self.count = min(self.size, self.count + 1)
        former = self.pictures[place].clone()
        self.pictures[place] = torch.where(torch.isfinite(new).all(), new, former)
        return new if shows_new else former

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint holds of it."""
        return {} if self.pictures is None else {"pictures": self.pictures, "count": torch.tensor(self.count)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`state` gave."""
        pictures = state.get("pictures")
        self.pictures, self.count = None if pictures is None else pictures.clone(), int(state.get("count", 0))
