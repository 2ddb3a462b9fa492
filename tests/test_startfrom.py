"""Going on from a model: its weights are the beginning, its task, networks and size the run's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import peers_more
from pixloom.config import override
from pixloom.errors import ModelError
from pixloom.importers import import_model
from pixloom.nets.team import acting
from pixloom.training.api import resume, train
from pixloom.training.engine import Engine
from pixloom.training.history import read
from pixloom.training.learner import Learner
from pixloom.training.plan import make_plan
from pixloom.training.preflight import checked
from pixloom.training.startfrom import begin_with, known_of
from pixloom.training.state import list_checkpoints
from tiny import NARROW, tiny_config, write_pairs

STILL = {"generator_optimizer.learning_rate": 1e-30, "critic_optimizer.learning_rate": 1e-30}


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs")


def generator_of(run):
    return load_file(run / "model-last" / "model.safetensors")


def critic_of(run):
    tensors = load_file(list_checkpoints(run / "checkpoints")[-1] / "state.safetensors")
    return {name: tensor for name, tensor in tensors.items() if name.startswith("critic/")}


def test_a_run_goes_on_from_another_with_its_critic(pairs, tmp_path):
    train(tiny_config(pairs, generator__options__norm="none", inference__statistics="running"), out=tmp_path / "first", quiet=True)
    plan = make_plan(
        str(pairs),
        recipe_name="pix2pix",
        images=4,
        seed=7,
        settings={
            "training.from_model": str(tmp_path / "first"),
            "compute.device": "cpu",
            "critic.options": {"layers": 1, "width": 4},
            **STILL,
        },
    )
    assert (plan.config.data.size, plan.config.generator.options["width"], plan.config.generator.options["norm"]) == (16, 4, "none")
    train(plan.config, out=tmp_path / "second", quiet=True)
    before, after = generator_of(tmp_path / "first"), generator_of(tmp_path / "second")
    assert all(torch.allclose(before[name], after[name]) for name in before), "nothing has been learnt since"
    learnt = {name: tensor for name, tensor in critic_of(tmp_path / "first").items() if "running" not in name and "num_batches" not in name}
    assert all(torch.allclose(tensor, critic_of(tmp_path / "second")[name]) for name, tensor in learnt.items())
    told = [entry for entry in read(tmp_path / "second" / "history.jsonl") if entry.get("event") == "began"]
    assert "generator and the critic of" in told[0]["message"]


def test_a_model_of_other_channels_is_refused_before_anything_is_made(pairs, tmp_path, capsys):
    train(tiny_config(pairs), out=tmp_path / "first", quiet=True)
    for path in (pairs / "A").iterdir():
        Image.open(path).convert("RGB").save(path)
    plan = make_plan(str(pairs), images=4, settings={"training.from_model": str(tmp_path / "first"), "compute.device": "cpu"})
    for attempt in (
        lambda: checked(plan, Engine(plan.config), out=tmp_path),
        lambda: train(plan.config, out=tmp_path / "second", quiet=True),
    ):
        with pytest.raises(ModelError, match=r"(?s)not the model's.*same channels"):
            attempt()
    assert not (tmp_path / "second").exists()
    assert capsys.readouterr().err.count("measuring") == 1  # of the first run only


def test_it_learns_and_resumes_from_there(pairs, tmp_path):
    train(tiny_config(pairs), out=tmp_path / "first", quiet=True)
    config = override(tiny_config(pairs, training__checkpoint_every_images=4), {"training.from_model": str(tmp_path / "first" / "model")})
    train(config, out=tmp_path / "whole", quiet=True)
    train(config, out=tmp_path / "part", quiet=True)
    for folder in list_checkpoints(tmp_path / "part" / "checkpoints")[-1:]:
        import shutil

        shutil.rmtree(folder)
    (tmp_path / "first").rename(tmp_path / "gone")
    resume(tmp_path / "part", quiet=True)
    one, other = (generator_of(tmp_path / run) for run in ("whole", "part"))
    assert all(torch.equal(one[name], other[name]) for name in one), "a resumed run needs the first model no more"
    first = generator_of(tmp_path / "gone")
    assert any(not torch.equal(first[name], one[name]) for name in one)


def test_an_imported_model_is_fine_tuned(pairs, tmp_path):
    from peers import peer_unet_state

    torch.save(peer_unet_state(1, 3, depth=4, width=4, norm="batch"), tmp_path / "latest_net_G.pth")
    import_model(tmp_path / "latest_net_G.pth", out=tmp_path / "imported")
    narrow = {"critic.options": {"layers": 1, "width": 4}, "compute.device": "cpu"}
    settings = {"training.from_model": str(tmp_path / "imported"), **narrow, **STILL}
    config = make_plan(str(pairs), recipe_name="pix2pix", images=4, settings=settings).config
    assert config.generator.options["depth"] == 4
    train(config, out=tmp_path / "tuned", quiet=True)
    before, after = load_file(tmp_path / "imported" / "model.safetensors"), generator_of(tmp_path / "tuned")
    assert all(torch.allclose(before[name], after[name]) for name in before if "running" not in name and "num_batches" not in name)


def test_what_does_not_fit_is_said(pairs, tmp_path):
    train(tiny_config(pairs), out=tmp_path / "first", quiet=True)
    wider = override(tiny_config(pairs), {"training.from_model": str(tmp_path / "first"), **NARROW, "generator.options.width": 8})
    with pytest.raises(ModelError, match="the generator of this run is not the model's"):
        train(wider, out=tmp_path / "second", quiet=True)
    with pytest.raises(ModelError, match="no such model"):
        make_plan(str(pairs), settings={"training.from_model": str(tmp_path / "nowhere")})


def test_the_card_says_what_it_was_begun_from(pairs, tmp_path):
    import json

    from peers import peer_unet_state

    torch.save(peer_unet_state(1, 3, depth=4, width=4, norm="batch"), tmp_path / "latest_net_G.pth")
    import_model(tmp_path / "latest_net_G.pth", out=tmp_path / "imported")
    settings = {"training.from_model": str(tmp_path / "imported"), "critic.options": {"layers": 1, "width": 4}, "compute.device": "cpu"}
    train(make_plan(str(pairs), recipe_name="pix2pix", images=2, settings=settings).config, out=tmp_path / "tuned", quiet=True)
    facts = json.loads((tmp_path / "tuned" / "model" / "config.json").read_text(encoding="utf-8"))["facts"]
    begun = facts["training"]["begun from"]
    assert (begun["model"], begun["recipe"]) == ("imported", "imported-unet")
    assert begun["imported"]["from"] == "latest_net_G.pth"
    assert len(begun["sha256"]) == 64
    assert "begun from" in (tmp_path / "tuned" / "model" / "README.md").read_text(encoding="utf-8")


def critic_file(folder):
    return load_file(folder / "critic.safetensors")


def test_an_imported_critic_is_gone_on_with(pairs, tmp_path):
    from peers import peer_patch_state, peer_unet_state

    for path in (pairs / "A").iterdir():
        Image.open(path).convert("RGB").save(path)
    names = tmp_path / "checkpoints"
    names.mkdir()
    torch.save(peer_unet_state(3, 3, depth=4, width=4, norm="batch"), names / "latest_net_G.pth")
    torch.save(peer_patch_state(6, layers=1, width=6, norm="batch"), names / "latest_net_D.pth")
    found = import_model(names, out=tmp_path / "imported", settings={"size": 16})
    assert found.critic == "patch"
    begun = {"training.from_model": str(tmp_path / "imported"), "compute.device": "cpu"}
    plan = make_plan(str(pairs), recipe_name="pix2pix", images=2, settings={**begun, **STILL})
    assert plan.config.critic.options["width"] == 6, "the recipe's critic is as wide as the one that goes on"
    train(plan.config, out=tmp_path / "run", quiet=True)
    kept, own = critic_file(tmp_path / "imported"), critic_of(tmp_path / "run")
    assert {f"critic/{name}" for name in kept} == own.keys()
    assert all(torch.allclose(kept[name], own[f"critic/{name}"]) for name in kept if "running" not in name and "num_batches" not in name)
    assert "generator and the critic of" in began(tmp_path / "run")
    other = make_plan(str(pairs), recipe_name="pix2pix", images=2, settings={**begun, "critic.options": {"layers": 1, "width": 4}})
    train(other.config, out=tmp_path / "other", quiet=True)
    assert "its critic begins anew: the one beside the model has width=6, this run's width=4" in began(tmp_path / "other")
    third = make_plan(
        str(pairs), recipe_name="pix2pix", images=2, settings={**begun, "training.from_model": str(tmp_path / "run"), **STILL}
    )
    assert third.config.critic.options["width"] == 6, "the critic of a run goes on with its options, too"
    assert any("the critic 'patch' of the model goes on" in reason for reason in third.reasons)
    assert "generator and the critic of" in begun_with(third)[1]
    auto = make_plan(str(pairs), recipe_name="auto", images=2, settings=begun)
    assert any("does not go on" in reason and "--recipe pix2pix" in reason for reason in auto.reasons)
    (tmp_path / "imported" / "critic.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="critic beside the model cannot be read"):
        make_plan(str(pairs), recipe_name="pix2pix", images=2, settings=begun)


def began(run):
    return next(entry["message"] for entry in read(run / "history.jsonl") if entry.get("event") == "began")


def test_both_directions_of_an_imported_cyclegan_are_gone_on_with(tmp_path):
    from peers import peer_patch_state, peer_resnet_state

    data = write_pairs(tmp_path / "pairs")
    for number, (side, name) in enumerate((("A", "trainA"), ("B", "trainB"))):
        for path in (data / side).iterdir():
            (tmp_path / "unpaired" / name).mkdir(parents=True, exist_ok=True)
            Image.open(path).convert("RGB").save(tmp_path / "unpaired" / name / f"{number}{path.name}")
    shape = {"blocks": 1, "halvings": 2, "width": 4, "norm": "instance", "dropout": False, "antialias": False}
    names = tmp_path / "checkpoints"
    names.mkdir()
    for number, direction in enumerate("AB"):
        torch.save(peer_resnet_state(3, 3, **shape, seed=number), names / f"latest_net_G_{direction}.pth")
        critic = {name: (1 + number) * tensor for name, tensor in peer_patch_state(3, layers=1, width=4, norm="instance").items()}
        torch.save(critic, names / f"latest_net_D_{direction}.pth")
    found = import_model(names, out=tmp_path / "imported", settings={"size": 16})
    assert found.critic == "patch"
    settings = {"training.from_model": str(found.folder), "compute.device": "cpu"}
    plan = make_plan(str(tmp_path / "unpaired"), recipe_name="cyclegan", images=2, settings=settings)
    begun, word = begun_with(plan)
    assert "both generators and the critics of" in word
    for folder, ours in ((found.folder, "there"), (found.folder / "back", "back")):
        for file, network in (("model", begun.generator), ("critic", begun.critic)):
            before, own = load_file(folder / f"{file}.safetensors"), network[ours].state_dict()
            assert all(torch.equal(before[name], own[name]) for name in before)


@pytest.mark.parametrize(
    ("about", "word"),
    [
        ('{"name": "patch", "options": {"source_channels": 3, "target_channels": 3, "width": 200000}}', "size mismatch"),
        ('{"name": "patch", "options": {"source_channels": 3, "target_channels": 3, "layers": 1, "width": 4, "foo": 1}}', "foo"),
        ('{"name": "os.system", "options": {}}', "there is no critic 'os.system'"),
        ("[" * 100_000, "recursion|depth"),
        (None, "it lacks"),
        ("nan", "no numbers"),
    ],
)
def test_a_tampered_critic_is_refused_before_anything_is_built(about, word, pairs, tmp_path):
    from peers import peer_patch_state, peer_unet_state

    for path in (pairs / "A").iterdir():
        Image.open(path).convert("RGB").save(path)
    torch.save(peer_unet_state(3, 3, depth=4, width=4, norm="batch"), tmp_path / "latest_net_G.pth")
    torch.save(peer_patch_state(6, layers=1, width=4, norm="batch"), tmp_path / "latest_net_D.pth")
    import_model(tmp_path / "latest_net_G.pth", out=tmp_path / "imported", settings={"size": 16})
    path = tmp_path / "imported" / "critic.safetensors"
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        kept = file.metadata()
    if about == "nan":
        tensors["head.bias"] = torch.full_like(tensors["head.bias"], float("nan"))
    save_file(tensors, path, metadata=kept if about == "nan" else {"pixloom-critic": about} if about else {"format": "pt"})
    settings = {"training.from_model": str(tmp_path / "imported"), "compute.device": "cpu"}
    with pytest.raises(ModelError, match=f"(?s)critic beside the model cannot be read.*({word})"):
        make_plan(str(pairs), recipe_name="pix2pix", images=2, settings=settings)
    assert make_plan(str(pairs), recipe_name="regression", images=2, settings=settings).config.critic is None, "it needs none"


def test_a_critic_that_is_shown_something_else_shapes_nothing(pairs, tmp_path):
    for path in (pairs / "A").iterdir():
        Image.open(path).convert("RGB").save(path)
    torch.save(peers_more.peer_bicycle_state(3, 3, depth=4, width=4, norm="instance", noise=8), tmp_path / "latest_net_G.pth")
    shape = {"program": "bicycle", "scales": 2, "layers": 1, "width": 4, "norm": "instance"}
    torch.save(peers_more.peer_scales_state(3, **shape), tmp_path / "latest_net_D.pth")
    found = import_model(tmp_path / "latest_net_G.pth", out=tmp_path / "imported", settings={"size": 16})
    assert found.critic == "bicycle_critic"
    assert known_of(found.folder).recipes() == [], "what the import says it goes on with"
    settings = {"training.from_model": str(found.folder), "compute.device": "cpu", "critic.name": "multiscale"}
    plan = make_plan(str(pairs), recipe_name="pix2pix", images=2, settings=settings)
    assert "widths" not in plan.config.critic.options, "it judges pictures alone, and would be shown pairs"
    assert any("does not go on" in reason for reason in plan.reasons)


def test_a_cyclegan_with_one_critic_begins_both_anew(tmp_path):
    from peers import peer_patch_state, peer_resnet_state

    shape = {"blocks": 1, "halvings": 2, "width": 4, "norm": "instance", "dropout": False, "antialias": False}
    for direction in "AB":
        torch.save(peer_resnet_state(3, 3, **shape), tmp_path / f"latest_net_G_{direction}.pth")
    torch.save(peer_patch_state(3, layers=1, width=4, norm="instance"), tmp_path / "latest_net_D_A.pth")
    found = import_model(tmp_path, out=tmp_path / "imported", settings={"size": 16})
    assert any("both begin anew" in note for note in found.notes)
    settings = {"training.from_model": str(found.folder), "compute.device": "cpu"}
    plan = make_plan(str(classes(tmp_path / "data")), recipe_name="cyclegan", size=32, images=2, settings=settings)
    begun, word = begun_with(plan)
    assert word.endswith("its critic begins anew: there is none beside the model of the way back")
    kept = load_file(found.folder / "critic.safetensors")
    assert not torch.equal(kept["head.weight"], begun.critic["there"].state_dict()["head.weight"])


def begun_with(plan):
    """A learner that has taken a model's weights, and what was said of it."""
    begun = Learner(plan.config, channels=plan.network_channels, engine=Engine(plan.config))
    return begun, begin_with(begun, plan.config.training.from_model)


def labelled(folder):
    """Label maps of four grey values, and pictures."""
    rng = np.random.default_rng(0)
    for name, channels, most in (("A", 1, 4), ("B", 3, 256)):
        (folder / name).mkdir(parents=True)
        for number in range(6):
            tiles = np.kron(rng.integers(0, most, (8, 8, channels)), np.ones((8, 8, 1))).astype(np.uint8)
            Image.fromarray(tiles[..., 0] if channels == 1 else tiles).save(folder / name / f"{number}.png")
    return folder


def classes(folder):
    """Two folders of pictures."""
    for name, colour in (("a", "red"), ("b", "blue")):
        (folder / "train" / name).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (64, 64), colour).save(folder / "train" / name / f"{number}.png")
    return folder


def spade_files():
    shape = {"program": "spade", "scales": 2, "layers": 2, "width": 4, "norm": "instance", "spectral": True}
    return {"latest_net_G.pth": peers_more.peer_spade_state(4, width=2), "latest_net_D.pth": peers_more.peer_scales_state(7, **shape)}


def stargan2_files():
    critic = peers_more.peer_stargan2_critic_state(2, width=4, halvings=4)
    return {"1_nets.ckpt": {**peers_more.peer_stargan2_state(2, width=4, halvings=2), "discriminator": critic}}


@pytest.mark.parametrize(
    ("files", "data", "recipe", "given"),
    [
        (spade_files, labelled, "spade", {"settings": {"size": 64, "classes": 4}}),
        (stargan2_files, classes, "starganv2", {"settings": {"size": 64}, "names": ("a", "b")}),
    ],
)
def test_critics_of_other_programs_are_gone_on_with_by_their_recipes(files, data, recipe, given, tmp_path):
    for name, state in files().items():
        torch.save(state, tmp_path / name)
    found = import_model(tmp_path / next(iter(files())), out=tmp_path / "imported", **given)
    settings = {"training.from_model": str(found.folder), "compute.device": "cpu", "losses.perceptual_weight": 0.0}
    plan = make_plan(str(data(tmp_path / "data")), recipe_name=recipe, images=8, settings=settings)
    begun, word = begun_with(plan)
    assert "generator and the critic of" in word
    kept, own = load_file(found.folder / "critic.safetensors"), acting(begun.critic).state_dict()
    assert all(torch.equal(kept[name], own[name]) for name in kept)
