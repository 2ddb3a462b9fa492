"""More models of other programs: equal to a forward pass written from their layout alone, steered as in their program, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import peers_more as peers
from pixloom.cli.app import app
from pixloom.errors import ConfigError, ModelError
from pixloom.importers import import_critic, import_model
from pixloom.importers.back import export_weights
from pixloom.importers.labels import listed
from pixloom.inference.translator import Translator
from pixloom.modelfile import load_model
from pixloom.nets.layers import set_inference


def drawn(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def taken_in(state, folder, *, name="latest_net_G.pth", **given):
    torch.save(state, folder / name)
    return import_model(folder / name, out=folder / "model", overwrite=True, **given)


def output_of(found, source, condition=None, noise=None, *, statistics=None):
    generator, about = load_model(found.folder)
    set_inference(generator, statistics=statistics or about.inference.statistics, dropout=False)
    with torch.no_grad():
        return generator(source, condition, noise)


def alike(first, second):
    assert first.shape == second.shape
    return torch.allclose(first, second, atol=1e-5)


def ids(classes, height=32, width=48, *, seed=1):
    """A label map in which every class is, with pieces of several pixels."""
    small = np.random.default_rng(seed).integers(0, classes, (height // 4, width // 4))
    return np.kron(small, np.ones((4, 4), int)).astype(np.uint8)


def planes(found, labels):
    """What our task makes of a label map, and what their program does: (ours, theirs)."""
    translator = Translator.from_pretrained(found.folder)
    ours = torch.from_numpy(translator.task.encode_source(labels[..., None], {}))[None]
    return ours, (ours + 1) / 2


def edges_of(objects):
    """1 where the number of an object differs from that of a neighbour."""
    found = np.zeros(objects.shape, np.float32)
    found[:, 1:] = np.maximum(found[:, 1:], objects[:, 1:] != objects[:, :-1])
    found[:, :-1] = np.maximum(found[:, :-1], objects[:, 1:] != objects[:, :-1])
    found[1:] = np.maximum(found[1:], objects[1:] != objects[:-1])
    found[:-1] = np.maximum(found[:-1], objects[1:] != objects[:-1])
    return torch.from_numpy(found)[None, None]


# --- pix2pixHD -------------------------------------------------------------------------------------------------------------------------

SMALL_GLOBAL = {"halvings": 2, "blocks": 2}
SMALL_ENHANCER = {"halvings": 1, "blocks": 2, "local": 2}


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("statistics", ["image", "running"])
def test_pix2pixhd_of_pictures(norm, statistics, tmp_path):
    source = drawn(1, 3, 64, 48)
    whole = peers.peer_global_state(3, 3, width=4, **SMALL_GLOBAL, norm=norm)
    found = taken_in(whole, tmp_path)
    assert (found.family, found.description.task.name) == ("resnet", "pair")
    wanted = peers.peer_global(whole, source, **SMALL_GLOBAL, norm=norm, training=statistics == "image")
    assert alike(output_of(found, source, statistics=statistics), wanted)
    state = peers.peer_enhancer_state(3, 3, width=4, **SMALL_ENHANCER, norm=norm)
    found = taken_in(state, tmp_path)
    assert (found.family, found.description.inference.statistics) == ("enhancer", "image" if norm == "batch" else "running")
    wanted = peers.peer_enhancer(state, source, **SMALL_ENHANCER, norm=norm, training=statistics == "image")
    assert alike(output_of(found, source, statistics=statistics), wanted)


@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize("enhanced", [False, True])
def test_pix2pixhd_of_labels(edges, enhanced, tmp_path):
    seen = 6 + edges
    if enhanced:
        state = peers.peer_enhancer_state(seen, 3, width=4, **SMALL_ENHANCER, norm="instance")
    else:
        state = peers.peer_global_state(seen, 3, width=4, **SMALL_GLOBAL, norm="instance")
    found = taken_in(state, tmp_path, settings={"classes": 6})
    about = found.description
    assert (about.task.name, about.generator.options["planes"], about.generator.options["source_channels"]) == ("synthesize", "binary", 7)
    labels, objects = ids(6), ids(9, seed=2)
    ours, theirs = planes(found, labels)
    given = {"objects": torch.from_numpy(objects.astype(np.float32))[None, None]} if edges else None
    theirs = torch.cat([theirs[:, :6], edges_of(objects)], 1) if edges else theirs[:, :6]
    assert theirs[:, :6].sum(1).unique().tolist() == [1.0]
    if enhanced:
        wanted = peers.peer_enhancer(state, theirs, **SMALL_ENHANCER, norm="instance")
    else:
        wanted = peers.peer_global(state, theirs, **SMALL_GLOBAL, norm="instance")
    assert alike(output_of(found, ours, given), wanted)
    assert ("map" in about.conditions) == edges


def test_what_pix2pixhd_leaves_open_is_asked_for(tmp_path):
    state = peers.peer_enhancer_state(36, 3, width=2, halvings=1, blocks=1, local=1, norm="instance")
    with pytest.raises(ModelError, match=r"(?s)36 channels are classes.*--set classes=N"):
        taken_in(state, tmp_path)
    with pytest.raises(ModelError, match=r"(?s)36 channels, which are not 30 classes.*instance_feat"):
        taken_in(state, tmp_path, settings={"classes": 30})
    with pytest.raises(ModelError, match=r"edges=false does not go with it"):
        taken_in(state, tmp_path, settings={"classes": 35, "edges": False})
    with pytest.raises(ModelError, match=r"35 classes, and 2 names"):
        taken_in(state, tmp_path, settings={"classes": 35}, names=("a", "b"))
    assert taken_in(state, tmp_path, settings={"task.name": "pair"}).description.generator.options["source_channels"] == 36
    with pytest.raises(ConfigError, match=r"'condition' would have no effect"):
        taken_in(state, tmp_path, settings={"classes": 35, "condition": "label"})
    (tmp_path / "opt.txt").write_text("label_nc: 35\nno_instance: False\nfineSize: 64\n", encoding="utf-8")
    found = taken_in(state, tmp_path)
    assert found.description.conditions == {"map": {"edges": True}}
    assert len(found.description.task.options["classes"]) == 35
    assert any("classes, edges" in note or "classes" in note for note in found.notes)
    two = {**state, **{name.replace("model1_", "model2_"): tensor for name, tensor in state.items() if name.startswith("model1_")}}
    with pytest.raises(ModelError, match="several enhancers"):
        taken_in(two, tmp_path)


def test_classes_have_names_and_colours_of_their_own():
    for count in (1, 2, 35, 182, 255):
        rows = listed(count, unlabelled=True)
        assert (
            len({tuple(row["colour"]) for row in rows})
            == len({row["name"] for row in rows})
            == len({row["id"] for row in rows})
            == count + 1
        )


# --- SPADE -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "spectral", "norm"), [(5, True, "batch"), (5, False, "instance"), (6, True, "batch"), (7, True, "batch")]
)
def test_spade_from_labels(levels, spectral, norm, tmp_path):
    state = peers.peer_spade_state(4, width=4, most=levels == 7, spectral=spectral, norm=norm)
    settings = {"classes": 4, **({"generator.options.levels": 6} if levels == 6 else {})}
    found = taken_in(state, tmp_path, settings=settings)
    options = found.description.generator.options
    assert (options["levels"], options["norm"], options["spectral"], options["bias"]) == (levels, norm, False, True)
    side = 2**levels
    ours, theirs = planes(found, ids(4, 2 * side, side))
    wanted = peers.peer_spade(state, theirs[:, :4], levels=levels, norm=norm)
    assert wanted.std() > 0.05
    assert alike(output_of(found, ours), wanted)
    assert (peers_assumed := "five times" in " ".join(found.notes)) == (levels == 5), peers_assumed


@pytest.mark.parametrize("places", [(2, 2), (2, 4)])
def test_spade_from_noise(places, tmp_path):
    state = peers.peer_spade_state(3, width=2, noise=6, places=places[0] * places[1])
    found = taken_in(state, tmp_path, names=("sky", "sea", "land"))
    options = found.description.generator.options
    assert (options["start"], options["noise_channels"], found.description.size) == (list(places), 6, 64)
    ours, theirs = planes(found, ids(3, 32 * places[0], 32 * places[1]))
    noise = torch.randn(1, 6, generator=torch.Generator().manual_seed(3))
    wanted = peers.peer_spade(state, theirs[:, :3], levels=5, z=noise, start=places)
    assert alike(output_of(found, ours, noise=noise), wanted)
    with pytest.raises(ModelError, match="first map cannot be"):
        taken_in(state, tmp_path, settings={"classes": 3, "generator.options.start": [3, 3]})


def test_spade_with_its_style_encoder(tmp_path):
    state, encoder = peers.peer_spade_state(3, width=2, noise=6, places=4), peers.peer_spade_encoder_state(width=2, code=6)
    torch.save(encoder, tmp_path / "latest_net_E.pth")
    found = taken_in(state, tmp_path, names=("sky", "sea", "land"))
    assert "codes that the style encoder gives" in " ".join(found.notes)
    ours, theirs = planes(found, ids(3, 64, 64))
    reference, noise = drawn(1, 3, 256, 256), torch.randn(1, 6, generator=torch.Generator().manual_seed(3))
    code = peers.peer_spade_code(encoder, reference)
    assert code.std() > 0.05
    wanted = peers.peer_spade(state, theirs[:, :3], levels=5, z=code, start=(2, 2))
    assert alike(output_of(found, ours, {"style": reference}, noise), wanted)
    drawn_one = peers.peer_spade(state, theirs[:, :3], levels=5, z=noise, start=(2, 2))
    assert alike(output_of(found, ours, noise=noise), drawn_one)
    translate, sky = Translator.from_pretrained(found.folder), np.zeros((64, 64, 3), np.uint8)
    looks = [np.asarray(Image.fromarray((255 * np.random.default_rng(n).random((40, 50, 3))).astype(np.uint8))) for n in range(2)]
    made = [translate(sky, given={"style": look}) for look in looks]
    assert not np.array_equal(*made)
    torch.save(peers.peer_spade_encoder_state(width=2, code=5), tmp_path / "latest_net_E.pth")
    with pytest.raises(ModelError, match=r"(?s)style encoder beside it is not its own.*two times 6 numbers"):
        taken_in(state, tmp_path, names=("sky", "sea", "land"))
    for spoilt in ({"fc_mu.weight": torch.zeros(6, 257)}, {"fc_mu.bias": torch.zeros(())}, {"layer1.0.weight_v": torch.zeros(2)}):
        torch.save({**encoder, **spoilt}, tmp_path / "latest_net_E.pth")
        with pytest.raises(ModelError, match="style encoder beside it is not its own"):
            taken_in(state, tmp_path, names=("sky", "sea", "land"))
    (tmp_path / "latest_net_E.pth").write_text("hello", encoding="utf-8")
    with pytest.raises(ModelError, match=r"(?s)no file of weights.*latest_net_E"):
        taken_in(state, tmp_path, names=("sky", "sea", "land"))


@pytest.mark.parametrize(("extra", "settings"), [(2, {}), (1, {"edges": True}), (1, {"edges": False})])
def test_spade_with_pixels_without_a_label_and_with_boundaries(extra, settings, tmp_path):
    state = peers.peer_spade_state(3 + extra, width=2)
    found = taken_in(state, tmp_path, settings={"classes": 3, **settings})
    edges, unlabelled = settings.get("edges", True), extra == 2 or not settings["edges"]
    labels, objects = ids(3, 64, 32), ids(9, 64, 32, seed=2)
    if unlabelled:
        labels[5:9, 3:20] = 255
    ours, theirs = planes(found, labels)
    theirs = theirs[:, : 3 + unlabelled]
    assert theirs.sum(1).unique().tolist() == [1.0]
    given = {"objects": torch.from_numpy(objects.astype(np.float32))[None, None]} if edges else None
    theirs = torch.cat([theirs, edges_of(objects)], 1) if edges else theirs
    assert theirs.shape[1] == 3 + extra
    assert alike(output_of(found, ours, given), peers.peer_spade(state, theirs, levels=5))


def test_what_spade_leaves_open_is_asked_for(tmp_path):
    state = peers.peer_spade_state(5, width=1, hidden=2)
    with pytest.raises(ModelError, match=r"(?s)5 channels are classes.*--set classes=N"):
        taken_in(state, tmp_path)
    with pytest.raises(ModelError, match=r"(?s)one channel follows.*edges=true"):
        taken_in(state, tmp_path, settings={"classes": 4})
    with pytest.raises(ModelError, match=r"cannot double 7 times"):
        taken_in(state, tmp_path, settings={"classes": 5, "generator.options.levels": 7})
    with pytest.raises(ModelError, match=r"start would have no effect"):
        taken_in(state, tmp_path, settings={"classes": 5, "generator.options.start": [2, 2]})
    with pytest.raises(ConfigError, match=r"'classes' cannot be 0"):
        taken_in(state, tmp_path, settings={"classes": 0})
    lines = "  crop_size: 512 \n aspect_ratio: 2.0 \n contain_dontcare_label: False \n label_nc: 4 \n no_instance: False \n"
    (tmp_path / "opt.txt").write_text(lines + "  num_upsampling_layers: more  \t[default: normal]\n", encoding="utf-8")
    found = taken_in(state, tmp_path)
    assert found.description.generator.options["levels"] == 6
    assert found.description.conditions == {"map": {"edges": True}}
    (tmp_path / "opt.txt").write_text(lines + " use_vae: True \n num_upsampling_layers: more \n", encoding="utf-8")
    vae = peers.peer_spade_state(5, width=1, hidden=2, noise=4, places=32)
    assert taken_in(vae, tmp_path).description.generator.options["start"] == [4, 8]


def test_what_is_not_the_generator_of_spade(tmp_path):
    encoder = {"layer1.0.weight_orig": torch.zeros(2, 3, 3, 3), "fc_mu.weight": torch.zeros(4, 4), "fc_mu.bias": torch.zeros(4)}
    with pytest.raises(ModelError, match=r"(?s)style encoder E.*latest_net_G"):
        taken_in(encoder, tmp_path, name="latest_net_E.pth")


# --- StarGAN ---------------------------------------------------------------------------------------------------------------------------

HAIR = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")


def test_stargan_with_attributes(tmp_path):
    state = peers.peer_stargan_state(5, width=4, blocks=3)
    found = taken_in(state, tmp_path, name="200000-G.ckpt", names=HAIR)
    about = found.description
    assert (found.family, about.task.name, about.generator.options["conditions"]) == ("stargan", "edit", {"attributes": 10})
    source = drawn(2, 3, 32, 48)
    conditions = Translator.from_pretrained(found.folder).conditions
    for stated, wanted in (({"Blond_Hair": 1, "Male": 0, "Young": 1}, [0, 1, 0, 0, 1]), ({"Male": 0.5}, [0, 0, 0, 0.5, 0])):
        values = torch.from_numpy(conditions.encode({"attributes": stated}, size=(1, 1))["attributes"]).expand(2, -1)
        theirs = peers.peer_stargan(state, source, torch.tensor([wanted] * 2).float(), blocks=3)
        assert alike(output_of(found, source, {"attributes": values}), theirs)


def test_stargan_with_a_label_and_without_statistics(tmp_path):
    state = peers.peer_stargan_state(3, width=4, blocks=2)
    plain = {name: tensor for name, tensor in state.items() if "running" not in name and "tracked" not in name}
    found = taken_in(plain, tmp_path, names=("angry", "happy", "sad"), settings={"condition": "label"})
    source = drawn(1, 3, 32, 32)
    theirs = peers.peer_stargan(state, source, torch.tensor([[0.0, 1.0, 0.0]]), blocks=2)
    assert alike(output_of(found, source, {"label": torch.tensor([[0.0, 1.0, 0.0]])}), theirs)
    with pytest.raises(ConfigError, match=r"'condition' cannot be 'text'"):
        taken_in(plain, tmp_path, names=("angry", "happy", "sad"), settings={"condition": "text"})


def test_stargan_by_command(tmp_path):
    state = peers.peer_stargan_state(5, width=4, blocks=2)
    torch.save(state, tmp_path / "1-G.ckpt")
    command = ["import", str(tmp_path / "1-G.ckpt"), "--out", str(tmp_path / "model"), "--name", ",".join(HAIR)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8))
    picture.save(tmp_path / "face.png")
    command = ["translate", str(tmp_path / "model"), str(tmp_path / "face.png"), "--out", str(tmp_path / "out"), "--runtime", "torch"]
    result = CliRunner().invoke(app, [*command, "--attribute", "Blond_Hair", "--attribute", "Young"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    source = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
    theirs = peers.peer_stargan(state, source, torch.tensor([[0.0, 1, 0, 0, 1]]), blocks=2)
    made = np.asarray(Image.open(tmp_path / "out" / "face.png")).astype(int)
    assert np.abs(made - ((theirs[0].permute(1, 2, 0).numpy() + 1) * 127.5)).max() < 0.6


def test_what_the_program_of_pix2pix_has_not_is_not_written_for_it(tmp_path):
    found = taken_in(peers.peer_stargan_state(5, width=2, blocks=6), tmp_path, names=HAIR)
    with pytest.raises(ModelError, match=r"(?s)has no such network.*(conditions|padding)="):
        export_weights(found.folder, out=tmp_path / "back.pth")
    labels = taken_in(peers.peer_global_state(6, 3, width=2, halvings=2, blocks=6, norm="batch"), tmp_path, settings={"classes": 6})
    with pytest.raises(ModelError, match=r"(?s)has no such network.*planes=binary"):
        export_weights(labels.folder, out=tmp_path / "back.pth")


def test_what_stargan_is_not(tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)steered by 5 names, and 0 are given.*--name"):
        taken_in(peers.peer_stargan_state(5, width=2, blocks=1), tmp_path)
    with pytest.raises(ConfigError, match=r"steered by 5 names, and 2 are given"):
        taken_in(peers.peer_stargan_state(5, width=2, blocks=1), tmp_path, names=("a", "b"))
    with pytest.raises(ModelError, match="nothing steers it"):
        taken_in(peers.peer_stargan_state(0, width=2, blocks=1), tmp_path)
    both = {"G": peers.peer_stargan_state(5, width=2, blocks=1), "D": peers.peer_stargan_critic_state(5, width=2, layers=3, side=32)}
    assert taken_in(both, tmp_path, names=HAIR).part == "G"
    with pytest.raises(ModelError, match="this is a critic"):
        taken_in(both["D"], tmp_path)


@pytest.mark.parametrize(("condition", "widths"), [(None, {"attributes": 10}), ("label", {"label": 5})])
@pytest.mark.parametrize(("layers", "side"), [(1, 16), (3, 48), (6, 128)])
def test_the_critic_of_stargan(layers, side, condition, widths, tmp_path):
    state = peers.peer_stargan_critic_state(5, width=2, layers=layers, side=side)
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "1-D.ckpt")
    critic = import_critic(tmp_path / "1-D.ckpt", settings={"condition": condition} if condition else None)
    assert (critic.options["size"], critic.options["layers"], critic.options["conditions"]) == (side, layers, widths)
    candidate = drawn(2, 3, side, side)
    logits, guesses = peers.peer_stargan_critic(state, candidate)
    judged = critic(candidate, candidate)
    assert alike(judged.logits[0], logits)
    assert alike(judged.guesses[condition or "attributes"], guesses)


def test_what_can_be_said_of_the_critic_of_stargan(tmp_path):
    state = peers.peer_stargan_critic_state(5, width=2, layers=2, side=16)
    torch.save(state, tmp_path / "1-D.ckpt")
    for said, message in (
        ({"condition": "text"}, "'condition' cannot be 'text'"),
        ({"size": 64}, "'size' is nothing that can be said of a critic"),
        ({"classes": 3}, "'classes' would have no effect"),
    ):
        with pytest.raises(ConfigError, match=message):
            import_critic(tmp_path / "1-D.ckpt", settings=said)
    for change, message in (
        ({"main.5.weight": torch.zeros(2, 2, 4, 4)}, "belong to no layer"),
        ({"conv2.weight": torch.zeros(5)}, "not whole"),
    ):
        torch.save(state | change, tmp_path / "2-D.ckpt")
        with pytest.raises(ModelError, match=message):
            import_critic(tmp_path / "2-D.ckpt")


# --- StarGAN v2 ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("halvings", [1, 3])
def test_stargan2(halvings, tmp_path):
    parts = peers.peer_stargan2_state(3, width=4, halvings=halvings)
    found = taken_in(parts, tmp_path, name="100000_nets_ema.ckpt", names=("cat", "dog", "wild"))
    about = found.description
    assert (found.family, found.part, about.task.name, about.size) == ("stargan2", "", "edit", 2 ** (halvings + 4))
    source, noise = drawn(2, 3, 32, 48), torch.randn(2, 5, generator=torch.Generator().manual_seed(3))
    for domain in range(3):
        wanted = peers.peer_stargan2(parts, source, noise, domain)
        assert wanted.std() > 0.05
        label = torch.eye(3)[domain].expand(2, -1)
        assert alike(output_of(found, source, {"label": label}, noise), wanted)
        reference = drawn(2, 3, about.size, about.size)
        style = peers.peer_stargan2_style(parts["style_encoder"], reference, domain)
        wanted = peers.peer_stargan2(parts, source, noise, domain, style=style)
        assert alike(output_of(found, source, {"label": label, "style": reference}, noise), wanted)
    translate, black = Translator.from_pretrained(found.folder), np.zeros((32, 32, 3), np.uint8)
    made = [translate(black, given={"label": "dog", **given}, seed=3) for given in ({}, {"style": black + 200}, {"style": black + 90})]
    assert made[0].shape == (32, 32, 3)
    assert not np.array_equal(made[0], made[1])
    assert not np.array_equal(made[1], made[2])


def test_stargan2_without_its_style_encoder_draws_styles(tmp_path):
    parts = peers.peer_stargan2_state(2, width=4, halvings=1)
    del parts["style_encoder"]
    found = taken_in(parts, tmp_path, names=("cat", "dog"))
    assert "no style encoder beside it" in " ".join(found.notes)
    translate, black = Translator.from_pretrained(found.folder), np.zeros((32, 32, 3), np.uint8)
    assert translate(black, given={"label": "dog"}).shape == (32, 32, 3)
    with pytest.raises(ConfigError, match="takes no style"):
        translate(black, given={"label": "dog", "style": black})


def test_the_parts_of_stargan2_may_lie_deeper_or_flat(tmp_path):
    parts, names = peers.peer_stargan2_state(2, width=4, halvings=1), ("a", "b")
    other = {name: {key: 2 * tensor for key, tensor in state.items()} for name, state in parts.items()}
    source, noise, label = drawn(1, 3, 32, 32), torch.randn(1, 5, generator=torch.Generator().manual_seed(3)), torch.tensor([[1.0, 0.0]])
    wanted = peers.peer_stargan2(parts, source, noise, 0)
    flat = {f"{part}.{name}": tensor for part, state in parts.items() for name, tensor in state.items()}
    wrapped = {part: {f"module.{name}": tensor for name, tensor in state.items()} for part, state in parts.items()}
    for file, chosen in (({"nets": other, "nets_ema": parts}, None), ({"old": other, "new": parts}, "new"), (flat, None), (wrapped, None)):
        found = taken_in(file, tmp_path, names=names, part=chosen)
        assert alike(output_of(found, source, {"label": label}, noise), wanted)
    with pytest.raises(ModelError, match="more than one network"):
        taken_in({"old": other, "new": parts}, tmp_path, names=names)


def test_what_stargan2_is_not(tmp_path):
    parts = peers.peer_stargan2_state(2, width=512, halvings=2)
    with pytest.raises(ModelError, match=r"(?s)high-pass skips.*w_hpf.*landmarks"):
        taken_in(parts, tmp_path)
    parts = peers.peer_stargan2_state(2, width=4, halvings=1)
    with pytest.raises(ModelError, match=r"(?s)not whole.*mapping_network"):
        taken_in({"generator": parts["generator"]}, tmp_path)
    with pytest.raises(ModelError, match=r"generator alone"):
        taken_in(parts["generator"], tmp_path)
    with pytest.raises(ConfigError, match=r"steered by 2 names"):
        taken_in(parts, tmp_path)
    del parts["generator"]["decode.1.norm2.fc.bias"]
    with pytest.raises(ModelError, match="are not those of the network"):
        taken_in(parts, tmp_path, names=("a", "b"))


@pytest.mark.parametrize("halvings", [1, 3])
def test_the_critic_of_stargan2(halvings, tmp_path):
    parts = peers.peer_stargan2_state(3, width=4, halvings=1)
    state = peers.peer_stargan2_critic_state(3, width=4, halvings=halvings)
    torch.save({**parts, "discriminator": state}, tmp_path / "100000_nets.ckpt")
    critic, candidate = import_critic(tmp_path / "100000_nets.ckpt"), drawn(2, 3, 4 << halvings, 4 << halvings)
    wanted = peers.peer_stargan2_critic(state, candidate)
    assert wanted.std() > 0.02
    for domain in range(3):
        label = torch.eye(3)[domain].expand(2, -1)
        assert alike(critic(candidate, candidate, {"label": label}).logits[0], wanted[:, domain : domain + 1])
    assert taken_in({**parts, "discriminator": state}, tmp_path, names=("a", "b", "c")).family == "stargan2"
    del state[f"main.{halvings + 4}.weight"]
    torch.save(state, tmp_path / "cut.ckpt")
    with pytest.raises(ModelError, match=r"(?s)the critic of StarGAN v2, but is not whole.*main"):
        import_critic(tmp_path / "cut.ckpt")


# --- BicycleGAN ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize(("source", "depth"), [(3, 5), (1, 7)])
def test_bicycle_with_noise_at_every_level(norm, source, depth, tmp_path):
    state = peers.peer_bicycle_state(source, 3, depth=depth, width=4, norm=norm, noise=8)
    found = taken_in(state, tmp_path, settings={"generator.options.norm": "none"} if norm == "none" else None)
    options = found.description.generator.options
    assert (found.family, options["noise_channels"], options["source_channels"], options["depth"]) == ("bicycle", 8, source, depth)
    assert (options["norm"], options["planes_at"], found.description.task.name) == (norm, "levels", "pair")
    given, noise = drawn(2, source, 2**depth, 2 ** (depth + 1)), torch.randn(2, 8, generator=torch.Generator().manual_seed(3))
    assert alike(output_of(found, given, noise=noise), peers.peer_bicycle(state, given, noise, depth=depth, norm=norm))
    assert ("instance norm is assumed" in " ".join(found.notes)) == (norm == "instance")
    assert Translator.from_pretrained(found.folder).has_answers


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_bicycle_with_noise_on_the_source(norm, tmp_path):
    state = peers.peer_bicycle_input_state(9, 3, depth=6, width=4, norm=norm)
    found = taken_in(state, tmp_path, family="bicycle")
    assert "8 of the 9 channels" in " ".join(found.notes)
    found = taken_in(state, tmp_path, family="bicycle", settings={"generator.options.noise_channels": 6})
    given, noise = drawn(1, 3, 64, 128), torch.randn(1, 6, generator=torch.Generator().manual_seed(3))
    assert alike(output_of(found, given, noise=noise), peers.peer_bicycle_input(state, given, noise, depth=6, norm=norm))
    with pytest.raises(ModelError, match=r"(?s)more than one network.*unet.*bicycle.*--as"):
        taken_in(state, tmp_path)
    with pytest.raises(ModelError, match="cannot be noise"):
        taken_in(state, tmp_path, family="bicycle", settings={"generator.options.noise_channels": 9})


def test_what_bicycle_is_not(tmp_path):
    state = peers.peer_bicycle_state(3, 3, depth=5, width=4, norm="instance", noise=8)
    bilinear = {name.replace("up.1", "up.3"): tensor for name, tensor in state.items()}
    with pytest.raises(ModelError, match="bilinear"):
        taken_in(bilinear, tmp_path)
    with pytest.raises(ModelError, match="no noise"):
        taken_in(peers.peer_bicycle_state(3, 3, depth=5, width=4, norm="instance", noise=0), tmp_path)
