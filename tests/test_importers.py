"""Models of other programs: recognised, loaded strictly, and equal to a forward pass that was written from their layout alone."""

from __future__ import annotations

import pickle
import warnings
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

import peers_more
import peers_sr
from peers import FORWARDS, STATES, peer_patch, peer_patch_state, peer_resnet, peer_resnet_state, peer_unet, peer_unet_state
from pixloom.cli.app import app
from pixloom.errors import ConfigError, ModelError, OutputError
from pixloom.importers import import_critic, import_model
from pixloom.importers.back import export_weights
from pixloom.importers.options import parse_options
from pixloom.inference.translator import Translator
from pixloom.modelfile import load_model


def pictures(channels, side=64, *, batch=1):
    return torch.rand(batch, channels, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def taken_in(state, folder, **given):
    torch.save(OrderedDict(state), folder / "latest_net_G.pth")
    return import_model(folder / "latest_net_G.pth", out=folder / "model", overwrite=True, **given)


def output_of(folder, source, *, statistics="image"):
    generator, _ = load_model(folder)
    from pixloom.nets.layers import set_inference

    set_inference(generator, statistics=statistics, dropout=False)
    with torch.no_grad():
        return generator(source)


# --- pytorch-CycleGAN-and-pix2pix -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize(("source", "target", "depth"), [(3, 3, 5), (1, 2, 6), (4, 3, 7)])
def test_the_unet_computes_what_its_layout_says(norm, source, target, depth, tmp_path):
    state = peer_unet_state(source, target, depth=depth, width=4, norm=norm)
    found = taken_in(state, tmp_path)
    options = found.description.generator.options
    assert (found.family, options["depth"], options["norm"], options["width"]) == ("unet", depth, norm, 4)
    assert found.description.task.name == ("colorize" if (source, target) == (1, 2) else "pair")
    given = pictures(source, 2**depth * 2)
    for statistics in ("image", "running"):
        wanted = peer_unet(state, given, depth=depth, norm=norm, training=statistics == "image")
        assert torch.allclose(output_of(found.folder, given, statistics=statistics), wanted, atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize(("blocks", "halvings", "antialias"), [(6, 2, False), (9, 2, False), (2, 4, False), (3, 2, True)])
def test_the_resnet_computes_what_its_layout_says(norm, dropout, blocks, halvings, antialias, tmp_path):
    state = peer_resnet_state(3, 2, blocks=blocks, halvings=halvings, width=4, norm=norm, dropout=dropout, antialias=antialias)
    found = taken_in(state, tmp_path)
    options = found.description.generator.options
    assert (options["blocks"], options["halvings"], options["antialias"]) == (blocks, halvings, antialias)
    assert (options["norm"], options["dropout"]) == (norm, 0.5 if dropout else 0.0)
    given = pictures(3)
    wanted = peer_resnet(state, given, blocks=blocks, halvings=halvings, norm=norm, dropout=dropout, antialias=antialias)
    assert torch.allclose(output_of(found.folder, given), wanted, atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize(("layers", "antialias"), [(1, False), (2, False), (3, False), (5, False), (1, True), (3, True)])
def test_the_critics_compute_what_their_layout_says(norm, layers, antialias, tmp_path):
    state = peer_patch_state(6, layers=layers, width=4, norm=norm, antialias=antialias)
    torch.save(state, tmp_path / "latest_net_D.pth")
    critic = import_critic(tmp_path / "latest_net_D.pth")
    source, candidate = pictures(3, 96), pictures(3, 96).flip(-1)
    wanted = peer_patch(state, torch.cat([source, candidate], 1), layers=layers, norm=norm, antialias=antialias)
    assert torch.allclose(critic(source, candidate).logits[0], wanted, atol=1e-5)
    with pytest.raises(ModelError, match=r"(?s)this is a critic.*import its generator"):
        import_model(tmp_path / "latest_net_D.pth", out=tmp_path / "model")


def old(state):
    """As it was saved between June and October 2018: instance norms with statistics; and before 0.4.1: batch norms that did not count."""
    more = {}
    for name, tensor in state.items():
        if name.endswith("conv_block.1.weight"):
            layer = name.replace("conv_block.1.weight", "conv_block.2")
            more |= {f"{layer}.running_mean": torch.zeros(len(tensor)), f"{layer}.running_var": torch.ones(len(tensor))}
            more[f"{layer}.num_batches_tracked"] = torch.tensor(3)
    return {**state, **more}


def test_every_era_and_wrapper(tmp_path):
    state = peer_resnet_state(3, 3, blocks=6, halvings=2, width=4, norm="instance", dropout=False, antialias=False)
    wanted = peer_resnet(state, pictures(3), blocks=6, halvings=2, norm="instance", dropout=False, antialias=False)
    batch = peer_unet_state(3, 3, depth=5, width=4, norm="batch")
    uncounted = {name: tensor for name, tensor in batch.items() if not name.endswith("num_batches_tracked")}
    assert len(uncounted) < len(batch)
    assert taken_in(uncounted, tmp_path).family == "unet"
    for variant in (
        old(state),
        {f"module.{name}": tensor for name, tensor in state.items()},
        {f"module._orig_mod.{name}": tensor for name, tensor in state.items()},
        {"state_dict": state, "epoch": 3},
        {"model": {"net": state}, "note": "x"},
        {f"netG.{name}": tensor for name, tensor in state.items()} | {f"netD.{name}": torch.zeros(1) for name in ("a.b", "c.d")},
        {"params": {name: 2 * tensor for name, tensor in state.items()}, "params_ema": state},
    ):
        found = taken_in(variant, tmp_path)
        assert torch.allclose(output_of(found.folder, pictures(3)), wanted, atol=1e-5)
    half = {name: tensor.half() for name, tensor in state.items()}
    assert torch.allclose(output_of(taken_in(half, tmp_path).folder, pictures(3)), wanted, atol=0.02)
    save_file(state, tmp_path / "weights.safetensors")
    found = import_model(tmp_path / "weights.safetensors", out=tmp_path / "other")
    assert torch.allclose(output_of(found.folder, pictures(3)), wanted, atol=1e-5)
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert import_model(tmp_path / "old.pth", out=tmp_path / "third").family == "resnet"


def test_both_generators_of_a_cyclegan_are_taken_with_the_options_beside_them(tmp_path):
    names = tmp_path / "checkpoints" / "mine"
    names.mkdir(parents=True)
    states = {
        side: peer_resnet_state(3, 3, blocks=6, halvings=2, width=4, norm="instance", dropout=False, antialias=False, seed=seed)
        for seed, side in enumerate("AB")
    }
    for side, state in states.items():
        torch.save(state, names / f"latest_net_G_{side}.pth")
    (names / "train_opt.txt").write_text("                crop_size: 128                           \t[default: 256]\n", encoding="utf-8")
    found = import_model(names, out=tmp_path / "model")
    assert found.description.size == 128
    there, back = (Translator.from_pretrained(tmp_path / "model", back=back) for back in (False, True))
    for translator, side in ((there, "A"), (back, "B")):
        wanted = peer_resnet(states[side], pictures(3), blocks=6, halvings=2, norm="instance", dropout=False, antialias=False)
        with torch.no_grad():
            assert torch.allclose(translator.generator(pictures(3)), wanted, atol=1e-5)


def test_options_of_both_eras():
    text = "------- Options -------\n       which_direction: BtoA                          \n            fineSize: 128   \t[default: 256]\n"
    assert parse_options(text) == {"direction": "BtoA", "crop_size": "128"}


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_the_way_back_gives_the_same_file(norm, tmp_path):
    unet = peer_unet_state(3, 3, depth=7, width=4, norm=norm)
    resnet = peer_resnet_state(3, 3, blocks=6, halvings=2, width=4, norm=norm, dropout=True, antialias=False)
    for state, called in ((unet, "unet_128"), (resnet, "resnet_6blocks")):
        found = taken_in(state, tmp_path)
        written = export_weights(found.folder, out=tmp_path / "back.pth", overwrite=True)
        again = torch.load(tmp_path / "back.pth", weights_only=True)
        assert again.keys() == state.keys()
        assert all(torch.equal(again[name], state[name]) for name in state)
        assert f"--netG {called} --norm {norm}" in written.options
    with pytest.raises(OutputError, match="exists already"):
        export_weights(found.folder, out=tmp_path / "back.pth")


def test_what_that_program_has_not_is_not_written_for_it(tmp_path):
    found = taken_in(peer_unet_state(3, 3, depth=5, width=4, norm="batch"), tmp_path)
    with pytest.raises(ModelError, match=r"(?s)has no such network.*5 levels"):
        export_weights(found.folder, out=tmp_path / "back.pth")


# --- Files that are not what they seem -------------------------------------------------------------------------------------------------


class Malicious:
    def __reduce__(self):
        return (print, ("executed",))


def test_nothing_is_executed(tmp_path, capsys):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "hook": Malicious()}, tmp_path / "evil.pth")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Malicious()))
    torch.save(torch.nn.Conv2d(1, 1, 1), tmp_path / "module.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.save(torch.jit.script(torch.nn.Conv2d(1, 1, 1)), tmp_path / "program.pth")
    for name in ("program.pth", "evil.pth", "plain.pkl", "module.pth"):
        with pytest.raises(ModelError, match="would have to be executed") as error:
            import_model(tmp_path / name, out=tmp_path / "model")
        assert "weights_only" not in str(error.value)
    assert "executed" not in capsys.readouterr().out
    assert "state_dict" in str(error.value)
    assert not (tmp_path / "model").exists()


def test_damaged_and_foreign_files_are_named(tmp_path):
    state = peer_unet_state(3, 3, depth=5, width=4, norm="batch")
    torch.save(state, tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.pth").write_text("hello", encoding="utf-8")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "renamed.safetensors").write_bytes(content)
    for name in ("cut.pth", "text.pth", "empty.pth", "renamed.safetensors"):
        with pytest.raises(ModelError, match="damaged|executed"):
            import_model(tmp_path / name, out=tmp_path / "model")
    torch.save({"a": 1}, tmp_path / "none.pth")
    with pytest.raises(ModelError, match="no weights in this file"):
        import_model(tmp_path / "none.pth", out=tmp_path / "model")
    torch.save({"layer.weight": torch.zeros(2, 2)}, tmp_path / "foreign.pth")
    with pytest.raises(ModelError, match=r"(?s)no generator in this file.*layer.weight.*unet: the U-Net"):
        import_model(tmp_path / "foreign.pth", out=tmp_path / "model")
    with pytest.raises(ModelError, match="no such file"):
        import_model(tmp_path / "nowhere.pth", out=tmp_path / "model")


@pytest.mark.parametrize("change", ["more", "less", "shape"])
def test_a_network_that_is_nearly_known_is_refused(change, tmp_path):
    state = peer_unet_state(3, 3, depth=5, width=4, norm="batch")
    name = "model.model.1.model.1.weight"
    if change == "more":
        state["model.model.1.model.9.weight"] = torch.zeros(1)
    elif change == "less":
        del state["model.model.1.model.6.bias"]
    else:
        state[name] = torch.zeros(8, 4, 3, 3)
    with pytest.raises(ModelError, match="more in this file than|are not those of the network"):
        taken_in(state, tmp_path)
    assert not (tmp_path / "model").exists()


def test_two_networks_are_chosen_between(tmp_path):
    a, b = (peer_unet_state(3, 3, depth=depth, width=4, norm="batch") for depth in (5, 6))
    with pytest.raises(ModelError, match=r"(?s)more than one network.*unet in 'a'.*--part"):
        taken_in({"a": a, "b": b}, tmp_path)
    assert taken_in({"a": a, "b": b}, tmp_path, part="b").description.generator.options["depth"] == 6
    with pytest.raises(ConfigError, match=r"no part 'c'"):
        taken_in({"a": a, "b": b}, tmp_path, part="c")
    with pytest.raises(ConfigError, match=r"no family 'unett'"):
        taken_in(a, tmp_path, family="unett")
    with pytest.raises(ModelError, match="holds no 'resnet' generator"):
        taken_in(a, tmp_path, family="resnet")


def test_what_people_say_is_kept_and_what_means_nothing_is_refused(tmp_path):
    state = peer_unet_state(3, 3, depth=6, width=4, norm="batch")
    said = {"task.direction": "BtoA", "size": 96, "inference.dropout": True, "inference.statistics": "running"}
    about = taken_in(state, tmp_path, settings=said).description
    assert (about.task.direction, about.size, about.inference.dropout, about.inference.statistics) == ("BtoA", 96, True, "running")
    with pytest.raises(ConfigError, match="nothing that can be said"):
        taken_in(state, tmp_path, settings={"losses.pixel": "l2"})
    with pytest.raises(ConfigError, match="nothing steers this model"):
        taken_in(state, tmp_path, names=("a", "b"))


def test_by_command(tmp_path):
    torch.save(peer_unet_state(3, 3, depth=6, width=4, norm="batch"), tmp_path / "latest_net_G.pth")
    command = ["import", str(tmp_path / "latest_net_G.pth"), "--out", str(tmp_path / "model"), "--set", "task.direction=BtoA"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "the U-Net of pytorch-CycleGAN-and-pix2pix: 3 channels to 3" in result.output
    assert Translator.from_pretrained(tmp_path / "model")(torch_picture()).size == (64, 64)
    back = ["export", str(tmp_path / "model"), "--format", "junyanz", "--out", str(tmp_path / "back.pth")]
    assert isinstance(CliRunner().invoke(app, back).exception, ModelError), "a depth of 6 is none of that program's"


def test_its_folder_and_its_file_are_models_as_they_are(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PIXLOOM_CACHE", str(tmp_path / "cache"))
    names = tmp_path / "checkpoints" / "mine"
    names.mkdir(parents=True)
    torch.save(peer_unet_state(3, 3, depth=5, width=4, norm="batch"), names / "latest_net_G.pth")
    one, other = (Translator.from_pretrained(place)(torch_picture()) for place in (names, names / "latest_net_G.pth"))
    assert one.tobytes() == other.tobytes()
    assert capsys.readouterr().err.count("taken in from") == 1, "the second time it is in the cache"
    torch.save({"a.weight": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(ModelError, match="no generator in this file"):
        Translator.from_pretrained(tmp_path / "x.pth")


def torch_picture():
    from PIL import Image

    return Image.new("RGB", (64, 64), (10, 200, 30))


def test_every_family_has_a_forward_of_its_own():
    from pixloom.importers import FAMILIES

    states = STATES | peers_more.STATES | peers_sr.STATES
    forwards = FORWARDS | peers_more.FORWARDS | peers_sr.FORWARDS
    assert states.keys() == forwards.keys() == FAMILIES.keys()


# --- What would do harm ------------------------------------------------------------------------------------------------------------------


def test_nothing_but_a_model_is_replaced(tmp_path):
    torch.save(peer_unet_state(3, 3, depth=5, width=4, norm="batch"), tmp_path / "latest_net_G.pth")
    precious = tmp_path / "precious"
    (precious / "sub").mkdir(parents=True)
    (precious / "sub" / "photo.txt").write_text("data", encoding="utf-8")
    (tmp_path / "file").write_text("data", encoding="utf-8")
    for place in (precious, tmp_path / "file"):
        with pytest.raises(OutputError, match="not a model"):
            import_model(tmp_path / "latest_net_G.pth", out=place, overwrite=True)
    assert (precious / "sub" / "photo.txt").read_text(encoding="utf-8") == "data"
    import_model(tmp_path / "latest_net_G.pth", out=tmp_path / "model")
    with pytest.raises(OutputError, match="here already"):
        import_model(tmp_path / "latest_net_G.pth", out=tmp_path / "model")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"size": -4}, "the size cannot be -4"),
        ({"size": "abc"}, "the size cannot be 'abc'"),
        ({"size": 1.7}, "the size cannot be 1.7"),
        ({"inference.statistics": "foo"}, "'statistics' cannot be 'foo'"),
        ({"task.direction": "XtoY"}, "'direction' cannot be 'XtoY'"),
        ({"generator.options.dropout": 7}, "dropout cannot be 7"),
        ({"generator.options.dropout": "x"}, "dropout cannot be 'x'"),
    ],
)
def test_a_value_that_cannot_be_is_said_and_nothing_is_written(said, message, tmp_path):
    with pytest.raises((ConfigError, ModelError), match=message):
        taken_in(peer_unet_state(3, 3, depth=6, width=4, norm="batch"), tmp_path, settings=said)
    assert not (tmp_path / "model").exists()


def hostile() -> dict[str, dict[str, torch.Tensor]]:
    state = peer_unet_state(3, 3, depth=5, width=4, norm="batch")
    first = "model.model.0.weight"
    return {
        "no numbers": {**state, first: torch.full_like(state[first], float("nan"))},
        "larger than what the file holds": {first: torch.zeros(1, dtype=torch.half).expand(4, 3, 60000, 60000)},
        "of a kind that is not taken in": {**state, first: state[first].to(torch.complex64)},
        "a number that no network has": {"body.0.weight": torch.zeros(8, 3, 3, 3), "body.9999999998.weight": torch.zeros(1)},
    }


@pytest.mark.parametrize("what", hostile())
def test_small_files_that_would_take_all_memory_or_time_are_refused(what, tmp_path):
    with pytest.raises(ModelError, match=what) as error:
        taken_in(hostile()[what], tmp_path)
    assert "latest_net_G.pth" in str(error.value)


def test_a_packed_file_is_refused(tmp_path):
    import zipfile

    torch.save({"a": torch.zeros(1000)}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in plain.namelist():
            packed.writestr(entry, plain.read(entry))
    with pytest.raises(ModelError, match="this file is packed"):
        import_model(tmp_path / "packed.pth", out=tmp_path / "model")


def test_the_same_weights_with_other_options_are_another_model(tmp_path, monkeypatch):
    monkeypatch.setenv("PIXLOOM_CACHE", str(tmp_path / "cache"))
    sizes = {}
    for name, side in (("a", 32), ("b", 64)):
        place = tmp_path / name
        place.mkdir()
        torch.save(peer_unet_state(3, 3, depth=5, width=4, norm="batch"), place / "latest_net_G.pth")
        (place / "train_opt.txt").write_text(f"  crop_size: {side}  \t[default: 256]\n", encoding="utf-8")
        sizes[name] = Translator.from_pretrained(place).description.size
    assert sizes == {"a": 32, "b": 64}
