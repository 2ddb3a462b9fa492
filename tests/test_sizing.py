"""The networks of ``auto`` fit the data and the machine, and the plan says why."""

from __future__ import annotations

import pytest
import torch

from pixloom import heap
from pixloom.config import override
from pixloom.recipes import recipe
from pixloom.training import sizing
from pixloom.training.engine import Engine
from pixloom.training.plan import make_plan
from pixloom.training.preflight import checked
from pixloom.training.sizing import LARGE, MEDIUM, SMALL, bytes_of, sized
from tiny import write_pairs

CPU = torch.device("cpu")
GIB = 2**30


def auto(side=64, **settings):
    return override(recipe("auto", size=side), {"data.path": "x", "data.size": side, **settings})


def with_free(monkeypatch, amount):
    monkeypatch.setattr(sizing, "free_on", lambda device: amount)


def test_what_a_step_holds_decides_where_memory_is_short(monkeypatch):
    config = auto(256)
    needs = {size.name: bytes_of(override(config, size.settings)) for size in (SMALL, MEDIUM)}
    assert needs["small"] < needs["medium"]
    with_free(monkeypatch, int(needs["small"] / sizing.SHARE_OF_MEMORY) + 1)
    found, why = sized(config, examples=300, device=CPU, settings={})
    assert (found.generator.options["width"], found.training.batch_size) == (SMALL.width, 2)
    assert "small networks: 300 examples of 256 px on a CPU; a step of 2 holds about" in why
    with_free(monkeypatch, int(needs["small"] / sizing.SHARE_OF_MEMORY) - 1)
    found, why = sized(config, examples=300, device=CPU, settings={})
    assert (found.generator.options["width"], found.training.batch_size) == (SMALL.width, 1)
    assert "too little for small networks with batches of 2" in why
    with_free(monkeypatch, 1000)
    found, why = sized(config, examples=300, device=CPU, settings={})
    assert found.training.batch_size == 1
    assert "too little, choose a smaller --size" in why


def test_on_a_gpu_the_large_ones_give_way(monkeypatch):
    monkeypatch.setattr(sizing, "choose", lambda **_: LARGE)
    needs = bytes_of(override(auto(128), MEDIUM.settings))
    with_free(monkeypatch, 2 * needs)
    found, why = sized(auto(128), examples=50_000, device=CPU, settings={})
    assert found.generator.options["width"] == MEDIUM.width
    assert "too little for large networks with batches of 8" in why
    with_free(monkeypatch, 100 * GIB)
    found, _ = sized(auto(128), examples=50_000, device=CPU, settings={})
    assert (found.generator.options["width"], found.training.batch_size) == (LARGE.width, LARGE.batch)


def test_what_was_asked_for_stays_and_other_recipes_are_left_alone(monkeypatch):
    with_free(monkeypatch, None)
    asked = {"generator.options.width": 20, "training.batch_size": 5}
    found, why = sized(auto(64, **asked), examples=300, device=CPU, settings=asked)
    assert (found.generator.options["width"], found.training.batch_size) == (20, 5)
    assert why == "medium networks: 300 examples of 64 px on a CPU"
    frozen = auto(64, **{"critic.name": "frozen"})
    assert sized(frozen, examples=300, device=CPU, settings={})[1], "the frozen critic has the same sizes"
    other = override(recipe("pix2pix", size=64), {"data.path": "x"})
    assert sized(other, examples=300, device=CPU, settings={}) == (other, None)
    twin = override(recipe("twin", size=64), {"data.path": "x", "data.size": 64})
    assert sized(twin, examples=300, device=CPU, settings={})[0].critic is None


def priced(monkeypatch, seconds):
    """Steps cost, by width, so many seconds an image, and none is taken."""
    from pixloom.training import preflight

    def price(plan, engine):
        return preflight.Cost(1, 1, {64: seconds[plan.config.generator.options["width"]]}, 0.0, None, 10)

    monkeypatch.setattr(preflight, "measure", price)


@pytest.mark.parametrize(
    ("wishes", "width", "images"),
    [
        ({"minutes": 10}, 32, 960),
        ({"minutes": 11}, 48, 528),
        ({"images": 100}, 48, 100),
        ({"minutes": 1}, 32, 96),
        ({"minutes": 1, "settings": {"generator.options.width": 48}}, 48, 48),
        ({"minutes": 1, "settings": {"training.batch_size": 4}}, 48, 48),
        ({"minutes": 1, "recipe_name": "twin"}, 32, 96),
    ],
)
def test_minutes_that_show_few_images_get_smaller_networks(tmp_path, monkeypatch, capsys, wishes, width, images):
    """At one second an image, where small networks take half of it."""
    with_free(monkeypatch, None)
    priced(monkeypatch, {48: 1.0, 32: 0.5})
    plan = make_plan(str(write_pairs(tmp_path / "pairs")), **{"task": "pair", "size": 64, "recipe_name": "auto", **wishes})
    plan, _ = checked(plan, Engine(plan.config), out=tmp_path / "run")
    assert (plan.config.generator.options["width"], plan.config.training.images) == (width, images)
    assert not any("medium networks" in reason for reason in plan.reasons) or width == 48, "only what was chosen is named"
    words = [reason for reason in plan.reasons if "instead" in reason]
    assert words == (
        [f"small networks instead: in {wishes['minutes']:g} min those would see only {48 * wishes['minutes']} images"]
        if width == 32
        else []
    )
    assert all(word in capsys.readouterr().out for word in words)


def test_free_memory_is_that_of_the_container_where_it_is_less(monkeypatch):
    monkeypatch.setattr(heap, "_of_machine", lambda: 8 * GIB)
    monkeypatch.setattr(heap, "_of_container", lambda: 3 * GIB)
    assert heap.free_memory_bytes() == 3 * GIB
    monkeypatch.setattr(heap, "_of_container", lambda: None)
    assert heap.free_memory_bytes() == 8 * GIB
    monkeypatch.setattr(heap, "_of_machine", lambda: None)
    assert heap.free_memory_bytes() is None


def test_free_memory_here():
    found = heap.free_memory_bytes()
    if found is None:
        pytest.skip("this system does not tell")
    assert 2**20 < found < 2**50
