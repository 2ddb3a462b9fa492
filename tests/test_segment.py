"""Photo to label map and back: losses, metrics, the two tasks, and whole small runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from console import Console
from pixloom.config import LossConfig, TaskConfig, load_config, override
from pixloom.data.loading import training_batches
from pixloom.errors import ConfigError, DataError
from pixloom.evaluation import evaluate
from pixloom.images import Picture, read
from pixloom.inference import translator
from pixloom.inference.tiling import Tiling
from pixloom.inference.translator import Translator
from pixloom.losses.classes import cross_entropy, dice
from pixloom.metrics import segmentation
from pixloom.nets.layers import Shares
from pixloom.tasks import build_task
from pixloom.tasks.base import Shown
from pixloom.tasks.labels import Label
from pixloom.tasks.segment import Segment
from pixloom.tasks.synthesize import Synthesize
from pixloom.training.api import resume, train
from pixloom.training.plan import complete, load_pictures, make_plan
from tiny import blobs, tiny_config

RNG = np.random.default_rng(0)
LABELS = (Label("road", (255, 0, 0), 0, 0.2), Label("sky", (0, 0, 255), 1, 0.5), Label("tree", (0, 255, 0), 2, 0.3))


def some_shares(seed=0, *, classes=3, unlabelled=True):
    """An output 2 p - 1 and a target, float64, with pixels of no label."""
    rng = torch.Generator().manual_seed(seed)
    output = 2 * torch.randn(2, classes, 4, 5, generator=rng, dtype=torch.float64).softmax(1) - 1
    ids = torch.randint(-1 if unlabelled else 0, classes, (2, 4, 5), generator=rng)
    target = torch.stack([(ids == number).double() * 2 - 1 for number in range(classes)], 1)
    return output, target, ids


# --- losses -----------------------------------------------------------------------------------------------------------------------


def test_shares_that_are_quite_wrong_can_still_be_learnt_from():
    """Where a plain softmax has no gradient left, the cross-entropy's is p - t of every pixel, the largest there is."""
    logits = torch.tensor([-200.0, 200.0, -200.0]).reshape(1, 3, 1, 1).requires_grad_()
    target = torch.tensor([1.0, -1.0, -1.0]).reshape(1, 3, 1, 1)
    head = Shares()
    cross_entropy(head.eval()(logits), target).backward()
    assert not logits.grad.any()  # the trap; in use there is no harm in it
    logits.grad = None
    loss = cross_entropy(head.train()(logits), target)
    loss.backward()
    assert loss.item() == pytest.approx(12, rel=1e-3)
    torch.testing.assert_close(logits.grad.flatten(), torch.tensor([-1.0, 1.0, 0.0]), atol=2e-2, rtol=0)


def test_shares_within_reach_are_a_plain_softmax_while_learning_too():
    logits = 2 * torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(Shares().train()(logits), 2 * logits.softmax(1) - 1, atol=1e-12, rtol=0)
    far = torch.tensor([40.0, 30.0, -40.0]).reshape(1, 3, 1, 1)
    assert Shares().train()(far).argmax(1).item() == 0  # the winner stays one


def test_in_auto_the_critic_of_label_maps_weighs_little():
    task = Segment()
    assert task.settings("auto")["losses.adversarial_weight"] == 0.1
    assert "losses.adversarial_weight" not in task.settings("pix2pix")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cross_entropy_is_minus_the_log_of_the_right_share(seed):
    output, target, ids = some_shares(seed)
    wanted = [
        -np.log((float(output[b, ids[b, y, x], y, x]) + 1) / 2) for b in range(2) for y in range(4) for x in range(5) if ids[b, y, x] >= 0
    ]
    assert cross_entropy(output, target).item() == pytest.approx(np.mean(wanted), rel=1e-9)
    reference = torch.nn.functional.nll_loss(((output + 1) / 2).log(), ids, ignore_index=-1)
    assert cross_entropy(output, target).item() == pytest.approx(reference.item(), rel=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_dice_is_its_formula_over_the_classes_that_occur(seed):
    output, target, ids = some_shares(seed)
    ids = ids.where(ids != 2, -1)  # the third class does not occur
    target = torch.stack([(ids == number).double() * 2 - 1 for number in range(3)], 1)
    p, known = (output.numpy() + 1) / 2, ids.numpy() >= 0
    values = []
    for number in (0, 1):
        t = (ids.numpy() == number).astype(float)
        share = p[:, number] * known
        values.append(2 * (share * t).sum() / (share.sum() + t.sum()))
    assert dice(output, target).item() == pytest.approx(1 - np.mean(values), rel=1e-9)


@pytest.mark.parametrize("loss", [cross_entropy, dice])
def test_what_has_no_label_has_no_gradient(loss):
    output, target, ids = some_shares()
    output.requires_grad_()
    loss(output, target).backward()
    per_pixel = output.grad.abs().amax(1)
    assert (per_pixel[ids < 0] == 0).all()
    assert (per_pixel[ids >= 0] > 0).all()
    nothing = torch.full_like(target, -1)
    assert loss(output, nothing).item() == 0


@pytest.mark.parametrize("loss", [cross_entropy, dice])
def test_the_right_answer_costs_nothing_and_the_wrong_one_is_finite(loss):
    _, target, _ = some_shares(unlabelled=False)
    assert loss(target, target).item() == pytest.approx(0, abs=1e-12)
    wrong = target.roll(1, 1).float().requires_grad_()
    value = loss(wrong, target.float())
    value.backward()
    assert value.item() >= 1
    assert wrong.grad.isfinite().all()


# --- metrics ----------------------------------------------------------------------------------------------------------------------

IDS = arrays(np.int16, (5, 6), elements=st.integers(-1, 3))


@given(IDS, IDS)
def test_the_numbers_are_those_of_sets_of_pixels(prediction, target):
    counts = segmentation.confusion(prediction, target, classes=4)
    known = target >= 0
    assert counts.sum() == known.sum()
    overlaps, recalls, scores = [], [], []
    for number in range(4):
        true, found = (target == number), (prediction == number) & known
        assert counts[number].sum() == true.sum()
        both, either = (true & found).sum(), (true | found).sum()
        overlaps += [both / either] if either else []
        scores += [2 * both / (true.sum() + found.sum())] if either else []
        recalls += [both / true.sum()] if true.any() else []
    if known.any():
        assert segmentation.miou(counts) == pytest.approx(np.mean(overlaps))
        assert segmentation.class_accuracy(counts) == pytest.approx(np.mean(recalls))
        assert segmentation.pixel_accuracy(counts) == pytest.approx((prediction == target)[known].mean())
        assert np.nanmean(segmentation.dice(counts)) == pytest.approx(np.mean(scores))
    else:
        assert np.isnan(segmentation.miou(counts))


def test_counts_add_up_over_pictures():
    pictures = [RNG.integers(-1, 3, (2, 8, 8)) for _ in range(3)]
    parts = sum(segmentation.confusion(p, t, classes=3) for p, t in pictures)
    whole = segmentation.confusion(*(np.concatenate([picture[side] for picture in pictures]) for side in (0, 1)), classes=3)
    assert np.array_equal(parts, whole)


def test_label_maps_of_different_sizes_are_not_compared():
    with pytest.raises(ConfigError, match="predicted label map"):
        segmentation.confusion(np.zeros((2, 2), int), np.zeros((2, 3), int), classes=2)


# --- segment ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_an_example_is_a_photo_and_a_plane_per_class(direction):
    photo = RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    ids = RNG.integers(0, 4, (4, 5, 1), dtype=np.uint8)  # 3 is no class
    task = Segment(direction=direction, classes=LABELS)
    pair = (photo, ids) if direction == "AtoB" else (ids, photo)
    x, y = task.encode(*pair, rng=RNG)
    assert task.channels(*((3, 1) if direction == "AtoB" else (1, 3))) == (3, 3)
    assert task.labels == ((False, True) if direction == "AtoB" else (True, False))
    assert np.array_equal(x, photo.transpose(2, 0, 1) / np.float32(127.5) - 1)
    assert np.array_equal(y, np.where(ids[..., 0] == np.arange(3)[:, None, None], 1, -1))
    shown = task.views(*pair, rng=RNG)
    assert np.array_equal(shown.source, photo)
    assert all(shown.target[ids[..., 0] == place].tolist() == [list(LABELS[place].colour)] * (ids == place).sum() for place in range(3))
    assert np.array_equal(task.encode_target(shown.target), y)


def test_an_ignored_class_takes_no_channel():
    task = Segment(classes=LABELS, ignore="sky")
    assert task.channels(3, 1) == (3, 2)
    assert task.encode_target(np.array([[[1]]], dtype=np.uint8)).tolist() == [[[-1]], [[-1]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_largest_share_is_the_class_at_the_size_of_the_source(dtype):
    task, full = Segment(classes=LABELS), 1 if dtype is np.float32 else np.iinfo(dtype).max
    ids = RNG.integers(0, 3, (6, 7))
    output = task.vocabulary.planes(ids.astype(np.int16)) * np.float32(0.2)
    source = np.zeros((6, 7, 3), dtype)
    got = task.compose(output, source, {})
    assert got.dtype == dtype
    assert np.array_equal(got, np.array([label.colour for label in LABELS])[ids] // 255 * full)
    large = task.compose(output, np.zeros((60, 70, 3), dtype), {})
    assert np.array_equal(large[5::10, 5::10], got)
    assert len(np.unique(large.reshape(-1, 3), axis=0)) <= 3  # no colour between two


def test_shares_are_enlarged_not_labels():
    """Between 0.9 / 0.1 and 0.4 / 0.6 the border lies nearer to the uncertain pixel than halfway."""
    shares = np.array([[[0.9, 0.4]], [[0.1, 0.6]], [[0.0, 0.0]]], dtype=np.float32)
    got = Segment(classes=LABELS).compose(2 * shares - 1, np.zeros((1, 20, 3), np.uint8), {})
    assert 12 < (got[..., 0] == 255).sum() < 20


def test_terms_are_the_two_losses_with_their_weights():
    output, target, _ = some_shares()
    terms = Segment(classes=LABELS).terms(LossConfig(pixel_weight=7.0))
    assert {name: weight for name, (weight, _) in terms.items()} == {"cross_entropy": 10.0, "dice": 5.0}
    assert terms["cross_entropy"][1](output, output, target) == cross_entropy(output, target)
    assert terms["dice"][1](output, output, target) == dice(output, target)
    assert Segment(dice_weight=0.0).terms(LossConfig()).keys() == {"cross_entropy"}
    with pytest.raises(ConfigError, match="both weights are 0"):
        Segment(dice_weight=0.0, cross_entropy_weight=0.0)


def test_measures_are_of_labels_and_the_baseline_is_the_commonest_class():
    task = Segment(classes=LABELS)
    truth = task.vocabulary.picture(np.array([[0, 1, 1, 2]], dtype=np.int16))
    shown = Shown(np.zeros((1, 4, 3), np.uint8), truth)
    right, base = task.measure(shown, truth), task.measure(shown, task.input_baseline(shown))
    assert right.row == {"pixel_error": 0.0}
    assert task.totals(right.counts) == dict.fromkeys(
        ("miou", "class_accuracy", "pixel_accuracy", "iou, road", "iou, sky", "iou, tree"), 1.0
    )
    assert base.row == {"pixel_error": 0.5}
    assert task.totals(base.counts)["iou, sky"] == 0.5
    assert task.totals(base.counts)["miou"] == pytest.approx(0.5 / 3)
    two = Segment(classes=LABELS, ignore="road")
    assert two.totals(two.measure(shown, two.input_baseline(shown)).counts)["dice"] == 0.0
    assert not task.measure(Shown(truth, np.full_like(truth, 77)), truth).row


# --- synthesize -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_a_label_map_in_any_form_is_the_same_planes(direction):
    task = Synthesize(direction=direction, classes=LABELS)
    ids = RNG.integers(0, 4, (4, 5, 1), dtype=np.uint8)  # 3 is no class
    photo = RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    pair = (ids, photo) if direction == "AtoB" else (photo, ids)
    x, y = task.encode(*pair, rng=RNG)
    assert task.channels(*((1, 3) if direction == "AtoB" else (3, 1))) == (4, 3)
    assert task.labels == ((True, False) if direction == "AtoB" else (False, True))
    assert np.array_equal(x, np.where(ids[..., 0] == np.arange(4)[:, None, None], 1, -1))
    assert np.array_equal(y, photo.transpose(2, 0, 1) / np.float32(127.5) - 1)
    shown = task.views(*pair, rng=RNG)
    assert np.array_equal(task.encode_source(shown.source, {}), x)
    assert [task.source_channels(channels, 4) for channels in (1, 3, 4)] == [1, 3, 3]


@pytest.mark.parametrize("task", [Segment(), Synthesize()])
def test_a_task_without_classes_says_so(task):
    with pytest.raises(ConfigError, match="classes are not known yet"):
        task.channels(3, 3)
    with pytest.raises(DataError, match="two pictures per example"):
        task.channels(3, None)


@pytest.mark.parametrize("name", ["segment", "synthesize"])
def test_classes_pass_through_a_config(name):
    task = build_task(TaskConfig(name=name, direction="BtoA", options={"classes": [{"name": "a", "colour": [1, 2, 3], "id": 4}]}))
    assert task.classes == (Label("a", (1, 2, 3), 4),)
    assert json.loads(json.dumps(task.options()))["classes"] == [{"name": "a", "colour": [1, 2, 3], "id": 4, "share": 0.0}]
    with pytest.raises(ConfigError, match=r"task\.options\.classes"):
        build_task(TaskConfig(name=name, options={"classes": [{"name": "a", "colour": [1, 2, 300]}]}))


# --- whole runs -------------------------------------------------------------------------------------------------------------------


def write_labelled(folder, *, count=6, side=24, masks=(0, 255)):
    """Folders A (photos) and B (masks with two values)."""
    rng = np.random.default_rng(0)
    for name in ("A", "B"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        mask, photo = blobs(rng, side)
        Image.fromarray(photo).save(folder / "A" / f"{number}.png")
        Image.fromarray(np.where(mask > 0, masks[1], masks[0]).astype(np.uint8 if max(masks) < 256 else np.uint16)).save(
            folder / "B" / f"{number}.png"
        )
    return folder


@pytest.mark.parametrize("recipe", ["regression", "pix2pix"])
def test_segment_learns_end_to_end(recipe, tmp_path):
    data = write_labelled(tmp_path / "data", masks=(3, 5))
    settings = {"task__name": "segment", "training__images": 400, "generator__options__width": 8, "training__batch_size": 4}
    config = override(tiny_config(data, name=recipe, **settings), {"generator_optimizer.learning_rate": 2e-3, "data.flip": False})
    result = train(config, out=tmp_path / "run", quiet=True)
    stored = load_config(tmp_path / "run" / "config.yaml")
    assert [label["id"] for label in stored.task.options["classes"]] == [3, 5]
    assert stored.generator.options["head"] == "softmax"
    assert complete(stored).config == stored
    assert result.evaluation.means["miou"].mean > 0.6
    assert result.evaluation.means["miou"].mean > result.evaluation.baselines["input"]["miou"].mean + 0.1

    photo = np.asarray(Image.open(data / "A" / "0.png"))
    labels = Translator.from_pretrained(tmp_path / "run")(photo)
    assert labels.shape == photo.shape
    assert set(np.unique(labels)) == {0, 255}
    truth = np.asarray(Image.open(data / "B" / "0.png")) == 5
    assert ((labels[..., 0] == 255) == truth).mean() > 0.75
    judged = evaluate(tmp_path / "run", data, split="all")
    assert judged.means["miou"].mean > 0.6
    assert {"dice", "pixel_accuracy", "iou, background"} <= judged.means.keys()
    assert judged.worst


def test_a_segment_run_resumes_with_its_classes(tmp_path):
    data = write_labelled(tmp_path / "data")
    config = tiny_config(data, name="regression", task__name="segment", training__images=8)
    train(config, out=tmp_path / "run", quiet=True)
    assert resume(tmp_path / "run", quiet=True).folder == tmp_path / "run"


def test_synthesize_trains_end_to_end(tmp_path):
    data = write_labelled(tmp_path / "data")
    config = override(tiny_config(data, task__name="synthesize", training__images=8), {"task.direction": "BtoA"})
    result = train(config, out=tmp_path / "run", quiet=True)
    assert "psnr" in result.evaluation.means
    translate = Translator.from_pretrained(tmp_path / "run")
    assert translate.description.generator.options["source_channels"] == 3
    mask = np.asarray(Image.open(data / "B" / "0.png"))
    photo = translate(np.repeat(mask[:16, :16, None], 3, axis=2))
    assert photo.shape == (16, 16, 3)
    assert np.array_equal(translate(mask[:16, :16, None]), photo)  # ids or colours, it is the same map


def test_ids_are_not_mixed_when_a_label_map_is_brought_to_the_working_size(tmp_path):
    data = write_labelled(tmp_path / "data")
    config = override(tiny_config(data, task__name="synthesize", training__images=2), {"task.direction": "BtoA"})
    train(config, out=tmp_path / "run", quiet=True)
    labels = np.zeros((50, 46, 3), np.uint8)
    labels[::2] = 255
    planes = Translator.from_pretrained(tmp_path / "run", device="cpu").prepare(Picture(labels)).values
    assert planes.shape[1] < 50
    assert not (planes[-1] > 0).any()  # no pixel is of no class


def test_label_maps_of_jpegs_are_not_written_as_jpegs(tmp_path, capsys):
    data = write_labelled(tmp_path / "data")
    train(tiny_config(data, name="regression", task__name="segment", training__images=2), out=tmp_path / "run", quiet=True)
    Image.open(data / "A" / "0.png").convert("RGB").save(tmp_path / "photo.jpg")
    console = Console(capsys)
    console.ok("translate", tmp_path / "run", tmp_path / "photo.jpg", "--out", tmp_path / "out", "--device", "cpu")
    assert set(np.unique(np.asarray(Image.open(tmp_path / "out" / "photo.png")))) <= {0, 255}
    refused = console("translate", tmp_path / "run", tmp_path / "photo.jpg", "--out", tmp_path / "out", "--format", "jpg")
    assert "changes pixels that must stay as they are" in refused.err


@pytest.mark.parametrize("masks", [(0, 255), (3, 700)])
def test_an_index_holds_the_ids_that_were_learnt(masks, tmp_path, capsys):
    """One channel of 8 bits, or 16 where ids need them, from a photo in JPEG; and read again it is the colour label map."""
    data = write_labelled(tmp_path / "data", masks=masks)
    run = tmp_path / "run"
    train(tiny_config(data, name="regression", task__name="segment", training__images=40), out=run, quiet=True)
    Image.open(data / "A" / "0.png").resize((30, 20)).save(tmp_path / "photo.jpg")
    console = Console(capsys)
    for out, flags in (("colour", ()), ("index", ("--index",))):
        console.ok("translate", run, tmp_path / "photo.jpg", "--out", tmp_path / out, "--device", "cpu", *flags)
    index, colour = (read(tmp_path / out / "photo.png").pixels for out in ("index", "colour"))
    assert index.shape == (20, 30, 1)
    assert index.dtype == (np.uint8 if masks[1] <= 255 else np.uint16)
    known = Translator.from_pretrained(run).task.vocabulary
    assert np.array_equal(known.ids(index), known.ids(colour))
    assert set(np.unique(index)) <= set(masks)
    assert np.array_equal(known.picture(known.ids(index)), colour)
    small = Translator.from_pretrained(run, index=True)(np.asarray(Image.open(tmp_path / "photo.jpg")))
    assert np.array_equal(small, index)


def test_a_large_index_is_made_piece_by_piece(tmp_path, monkeypatch):
    data = write_labelled(tmp_path / "data")
    config = tiny_config(data, name="regression", task__name="segment", training__images=8)
    train(override(config, {"inference.statistics": "running"}), out=tmp_path / "run", quiet=True)
    photo = Picture(np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8))
    monkeypatch.setattr(translator, "MAX_PIXELS_AT_ONCE", 2000)
    monkeypatch.setattr(translator, "choose_tiling", lambda **_: Tiling(tile=48, margin=8, multiple=16, blend=True, note="in tiles"))
    colour, index = (Translator.from_pretrained(tmp_path / "run", index=choice) for choice in (False, True))
    found = index.translate(photo, size="native")
    assert found.notes == ("in tiles",)
    known = index.task.vocabulary
    assert np.array_equal(known.ids(found.pixels), known.ids(colour.translate(photo, size="native").pixels))


def test_an_index_is_asked_for_in_vain(tmp_path, capsys):
    data = write_labelled(tmp_path / "data")
    train(tiny_config(data, name="regression", task__name="segment", training__images=2), out=tmp_path / "run", quiet=True)
    train(tiny_config(data, name="regression", training__images=2), out=tmp_path / "pair", quiet=True)
    console, photo = Console(capsys), data / "A" / "0.png"
    where = ("--out", tmp_path / "out", "--index")
    assert "makes no label maps" in console("translate", tmp_path / "pair", photo, *where).err
    for wish in (("--format", "tif"), ("--keep-alpha",)):
        ran = console("translate", tmp_path / "run", photo, *where, *wish)
        assert ran.code == 2
        assert f"{' '.join(wish)} does not go with --index" in ran.err
    assert not (tmp_path / "out").exists()


def test_a_setting_of_the_pixel_loss_has_no_place_beside_classes(tmp_path):
    data = write_labelled(tmp_path / "data")
    with pytest.raises(ConfigError, match="losses.pixel=l2 would have no effect"):
        complete(tiny_config(data, name="regression", task__name="segment", losses__pixel="l2"))


def test_an_example_that_cannot_be_encoded_is_left_out_and_named(tmp_path):
    data = write_labelled(tmp_path / "data")
    plan = complete(tiny_config(data, name="regression", task__name="segment"))
    task = plan.task
    seen = []

    def encode(source, target, *, rng):
        seen.append(1)
        if len(seen) == 1:
            raise DataError("a colour that is no class")
        return task.encode(source, target, rng=rng)

    pictures = load_pictures(plan, size=16, cache_gib=1.0)
    pictures.encode = encode
    batches = training_batches(pictures, batch_size=1, seed=0, start_image=0, size=16, flip=False)
    named = {next(batches).ids[0] for _ in range(12)}
    batches.close()
    assert list(pictures.bad.values()) == ["a colour that is no class"]
    assert len(named) == len(plan.train) - 1


# --- bad input --------------------------------------------------------------------------------------------------------------------


def plan_of(data, **settings):
    return make_plan(str(data), task="segment", recipe_name="regression", size=16, images=8, settings=settings)


def test_bad_label_maps_are_refused_before_anything_runs(tmp_path):
    data = write_labelled(tmp_path / "data", masks=(0, 9))
    (data / "classes.csv").write_text("id,name,r,g,b\n0,a,0,0,0\n1,b,9,9,9\n")
    with pytest.raises(DataError, match=r"(?s)the id 9 is none of the 2 classes.*\.png"):
        plan_of(data)
    (data / "classes.csv").write_text("id,name,r,g,b\n0,a,0,0,0\n9,b,9,9,9\n")
    assert [label.name for label in plan_of(data).task.classes] == ["a", "b"]
    with pytest.raises(ConfigError, match="ignore=c would have no effect"):
        plan_of(data, **{"task.options.ignore": "c"})
    with pytest.raises(DataError, match=r"1 class\(es\)"):
        plan_of(data, **{"task.options.ignore": "b"})


def test_photos_as_label_maps_are_told_from_the_direction(tmp_path):
    data = write_labelled(tmp_path / "data")
    for path in (data / "A").iterdir():
        noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    with pytest.raises(DataError, match=r"(?s)no classes can be made out.*--direction"):
        make_plan(str(data), task="segment", direction="BtoA", recipe_name="regression", size=16, images=8)


def test_a_label_map_of_another_size_is_brought_to_the_photos_without_new_ids(tmp_path):
    data = write_labelled(tmp_path / "data", masks=(0, 2))
    for path in (data / "B").iterdir():
        Image.open(path).resize((90, 90), Image.Resampling.NEAREST).save(path)
    plan = plan_of(data)
    loaded = load_pictures(plan, size=16, cache_gib=1.0).load(0)
    assert loaded.source.shape[:2] == loaded.target.shape[:2]
    assert set(np.unique(loaded.target)) <= {0, 2}
