"""The run's curves and previews for TensorBoard, where that optional package is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
_TAGS = {"generator": "loss/generator/", "critic": "loss/critic/", "learning_rate": "lr/"}


class Writer:
    """Writes history entries and preview grids as TensorBoard events; steps are images seen.

    Tags: ``loss/<network>/<term>``, ``lr/<network>``, ``images/s``, ``val/<metric>`` and the picture ``samples``.
    """

    def __init__(self, events: SummaryWriter) -> None:
        self._events = events

    def record(self, entry: dict[str, Any]) -> None:
        """Write the numbers of one entry, as :meth:`pixloom.training.history.History.append` returned it."""
        for tag, value in scalars(entry).items():
            self._events.add_scalar(tag, value, global_step=entry["images"])

    def preview(self, images: int, grid: np.ndarray) -> None:
        """Write a preview grid, (height, width, 3) uint8."""
        self._events.add_image("samples", grid, global_step=images, dataformats="HWC")

    def close(self) -> None:
        """Write what is still waiting and close the file."""
        self._events.close()


def open_writer(run_folder: Path, *, resume_images: int | None = None) -> Writer | None:
    """A writer into the run's ``tensorboard`` folder, or None when the package is not installed.

    Args:
        run_folder: the run.
        resume_images: images of the checkpoint that training goes on from; later events of the stopped process are then hidden.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    purge_step = None if resume_images is None else resume_images + 1
    return Writer(SummaryWriter(log_dir=str(run_folder / FOLDER), purge_step=purge_step))


def scalars(entry: dict[str, Any]) -> dict[str, float]:
    """The numbers of a history entry by TensorBoard tag.

    >>> scalars({"kind": "validation", "images": 50, "elapsed_seconds": 1.0, "psnr": 20.5, "protocol": "12 pictures"})
    {'val/psnr': 20.5}
    """
    values = {key: value for key, value in entry.items() if key not in ("kind", "images", "elapsed_seconds")}
    if entry["kind"] == "validation":
        return {f"val/{name}": float(value) for name, value in values.items() if isinstance(value, (int, float))}
    if entry["kind"] != "losses":
        return {}
    tagged = {prefix + name: float(value) for group, prefix in _TAGS.items() for name, value in values.get(group, {}).items()}
    return tagged | ({"images/s": float(values["images_per_second"])} if "images_per_second" in values else {})
