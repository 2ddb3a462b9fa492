"""Using a model: any picture of any size and kind, the same kind back, files by name and tree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from pixloom.config import InferenceConfig, TaskConfig
from pixloom.errors import ConfigError, DataError, ImageError, ModelError, OutputError
from pixloom.images import MAX_PIXELS, Picture, list_pictures, read, to_depth, to_model, with_channels, write
from pixloom.inference import batch, tiling, translator
from pixloom.inference.batch import find_jobs, translate_files
from pixloom.inference.translator import MAX_SQUARES, Translator, find_model, pad, working_size
from pixloom.modelfile import ModelDescription, describe_generator
from pixloom.nets import build
from pixloom.nets.layers import initialize

SIZE = 16
SHAPES = [(1, 1), (1, 100), (7, 13), (127, 129), (16, 16)]


def make(
    name: str = "encoder_decoder",
    *,
    channels: tuple[int, int] = (3, 3),
    task: str = "pair",
    statistics: str = "running",
    noisy: bool = False,
    **options: object,
) -> Translator:
    """A translator with random weights that are large enough to be seen."""
    torch.manual_seed(0)
    narrow = {"blocks": 1} if name == "resnet" else {"depth": 4} if name == "unet" else {}
    generator = build(name, {"width": 4, **narrow, **options}, source_channels=channels[0], target_channels=channels[1])
    initialize(generator, gain=0.3)
    inference = InferenceConfig(statistics=statistics, dropout=noisy)
    described = ModelDescription(
        task=TaskConfig(name=task), generator=describe_generator(name, generator), inference=inference, size=SIZE, recipe="test"
    )
    return Translator(generator, described, device="cpu")


@pytest.fixture(scope="module")
def translate() -> Translator:
    return make()


def spy(translate: Translator) -> list[tuple[int, int]]:
    """Notes the height and width of everything that goes through the network from now on."""
    worked: list[tuple[int, int]] = []
    run = translate.runtime.run

    def noted(source: np.ndarray, *, condition=None, seed: int) -> np.ndarray:
        worked.append(source.shape[2:])
        return run(source, seed=seed)

    translate.runtime.run = noted
    return worked


def noise(*shape: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.floating):
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(Picture(pixels), path)
    return path


# --- Sizes ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["trained", "native", 24])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["encoder_decoder", "unet", "resnet"])
def test_any_size_gives_its_own_size_back(name, shape, size):
    image = noise(*shape, 3)
    assert make(name)(image, size=size).shape == image.shape


def test_a_picture_of_extreme_aspect_is_worked_on_within_bounds(translate, monkeypatch):
    worked = []
    monkeypatch.setattr(translate.generator, "forward", lambda source, *rest: worked.append(source.shape[-2:]) or source)
    assert translate(noise(1, 1000, 3)).shape == (1, 1000, 3)
    assert translate(noise(5000, 2, 3)).shape == (5000, 2, 3)
    assert all(height * width <= MAX_SQUARES * SIZE**2 for height, width in worked)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 512), st.sampled_from([1, 4, 16, 256]))
@settings(deadline=None)
def test_the_working_size_has_the_short_side_asked_for_unless_that_is_too_much(height, width, short_side, multiple):
    got = working_size(height, width, short_side=short_side, multiple=multiple)
    padded = [-(-side // multiple) * multiple for side in got]
    budget = MAX_SQUARES * max(short_side, multiple) ** 2
    # Rounding to whole pixels, and padding to the next multiple, each add a little.
    assert (padded[0] - multiple) * (padded[1] - multiple) <= budget * 1.1 + sum(got)
    assert min(got) <= short_side
    if max(height, width) <= MAX_SQUARES * min(height, width) and short_side >= multiple:
        assert min(got) == short_side


def test_at_its_own_size_nothing_is_resized(translate):
    image = noise(32, 48, 3)
    expected = translate.generator(torch.from_numpy(to_model(image))[None], None, None)[0]
    got = translate(torch.from_numpy(to_model(image)), size="native")
    assert torch.allclose(got, expected, atol=1e-5)


def test_the_trained_size_is_the_short_side_at_which_the_network_works(translate, monkeypatch):
    seen = []
    monkeypatch.setattr(translate.generator, "forward", lambda source, *rest: seen.append(tuple(source.shape[-2:])) or source)
    translate(noise(100, 200, 3))
    translate(noise(100, 200, 3), size=48)
    translate(noise(30, 50, 3), size="native")
    assert seen == [(16, 32), (48, 96), (32, 64)]


@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (16, 16), (17, 33)])
def test_padding_continues_the_picture_and_leaves_it_alone(shape):
    images = np.random.default_rng(0).random((1, 2, *shape))
    padded = pad(images, multiple=16, least=32)
    assert all(side % 16 == 0 and side >= 32 for side in padded.shape[-2:])
    assert np.array_equal(padded[..., : shape[0], : shape[1]], images)
    assert padded.min() >= images.min()
    assert padded.max() <= images.max()


@pytest.mark.parametrize("size", [0, -5, True, 2.5, "big", 10**6, None])
def test_an_impossible_working_size_is_refused(translate, size):
    with pytest.raises(ConfigError, match="working size"):
        translate(noise(8, 8, 3), size=size)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_an_impossible_seed_is_refused(translate, seed):
    with pytest.raises(ConfigError, match="seed"):
        translate(noise(8, 8, 3), seed=seed)


# --- Kinds ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_an_array_gives_an_array_of_its_type(translate, dtype):
    image = noise(9, 11, 3, dtype=dtype)
    got = translate(image)
    assert (got.dtype, got.shape) == (image.dtype, image.shape)
    assert np.allclose(got / got.dtype.type(1), got)


def test_depths_of_one_picture_agree(translate):
    image = noise(16, 16, 3)
    eight, sixteen, real = translate([image, image.astype(np.uint16) * 257, (image / 255).astype(np.float32)])
    assert np.abs(sixteen / 65535 - real).max() < 1e-4
    assert np.abs(eight / 255 - real).max() < 1 / 255


@pytest.mark.parametrize(("mode", "expected"), [("RGB", "RGB"), ("L", "RGB"), ("P", "RGB"), ("1", "RGB"), ("RGBA", "RGB"), ("CMYK", "RGB")])
def test_a_pil_image_gives_a_pil_image(translate, mode, expected):
    got = translate(Image.fromarray(noise(10, 14, 3)).convert(mode))
    assert isinstance(got, Image.Image)
    assert (got.mode, got.size) == (expected, (14, 10))


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_what_pillow_has_no_colour_mode_for_comes_back_in_8_bits(translate, mode):
    pixels = noise(10, 14, dtype=np.uint16) if mode == "I;16" else noise(10, 14, dtype=np.float32)
    got = translate(Image.fromarray(pixels))
    assert (got.mode, got.size) == ("RGB", (14, 10))
    assert np.abs(np.asarray(got) / 255.0 - translate(pixels) / (65535 if mode == "I;16" else 1)).max() < 1 / 255


def test_a_path_gives_a_pil_image(translate, tmp_path):
    image = noise(10, 14, 3)
    got = translate(save(tmp_path / "bild.png", image))
    assert np.array_equal(np.asarray(got), translate(image))
    assert np.array_equal(np.asarray(translate(str(tmp_path / "bild.png"))), np.asarray(got))


def test_a_tensor_gives_a_tensor(translate):
    images = torch.rand(2, 3, 10, 14) * 2 - 1
    got = translate(images)
    assert (got.shape, got.dtype) == (images.shape, images.dtype)
    assert torch.equal(translate(images[0]), got[0])
    assert translate(images.double()).dtype == torch.float64
    assert translate(images[0].requires_grad_()).requires_grad is False


@pytest.mark.parametrize(
    "bad",
    [torch.zeros(3, 4), torch.zeros(1, 3, 4, 4, 4), torch.zeros(3, 4, 4, dtype=torch.uint8), torch.full((3, 4, 4), 255.0)]
    + [torch.full((3, 4, 4), float("nan")), torch.zeros(0, 3, 4, 4), torch.zeros(4, 4, 4)],
)
def test_a_tensor_that_is_no_picture_is_refused(translate, bad):
    with pytest.raises(ImageError):
        translate(bad)


def test_a_list_gives_a_list_of_each_kind(translate, tmp_path):
    image = noise(10, 14, 3)
    got = translate([image, Image.fromarray(image), save(tmp_path / "a.png", image), torch.from_numpy(to_model(image)), [image]])
    kinds = [type(thing) for thing in got]
    assert kinds[0] is np.ndarray
    assert issubclass(kinds[1], Image.Image)
    assert issubclass(kinds[2], Image.Image)
    assert issubclass(kinds[3], torch.Tensor)
    assert kinds[4] is list
    assert translate([]) == []


def test_grey_goes_into_a_colour_model_and_colour_into_a_grey_one(translate):
    grey = noise(8, 8)
    assert np.array_equal(translate(grey), translate(np.dstack([grey] * 3)))
    to_grey = make(channels=(1, 1))
    assert to_grey(grey).shape == (8, 8)
    assert to_grey(grey[..., None]).shape == (8, 8, 1)
    colour = noise(8, 8, 3)
    assert np.array_equal(to_grey(colour), to_grey(with_channels(Picture(colour), 1).pixels))


def test_channels_that_the_model_does_not_take_are_refused(translate):
    with pytest.raises(ImageError, match="4 channels cannot become one of 3"):
        translate(noise(8, 8, 4))


def test_many_channels_in_and_out():
    translate = make(channels=(5, 2))
    assert translate(noise(8, 9, 5)).shape == (8, 9, 2)
    assert translate.output_channels == 2


def test_transparency_is_given_back_only_when_asked_for(translate):
    image = Image.fromarray(noise(10, 14, 4))
    assert translate(image).mode == "RGB"
    kept = translate(image, keep_alpha=True)
    assert kept.mode == "RGBA"
    assert np.array_equal(np.asarray(kept)[..., 3], np.asarray(image)[..., 3])
    assert np.array_equal(np.asarray(kept)[..., :3], np.asarray(translate(image)))


def test_colorize_gives_colour_for_grey_of_any_depth():
    colorize = make(channels=(1, 2), task="colorize")
    assert colorize.output_channels == 3
    for dtype in (np.uint8, np.uint16, np.float32):
        got = colorize(noise(20, 30, dtype=dtype))
        assert (got.shape, got.dtype) == ((20, 30, 3), np.dtype(dtype))
    assert colorize(noise(20, 30, 3)).shape == (20, 30, 3)


def test_to_depth_keeps_black_and_white():
    for source in (np.uint8, np.uint16, np.float32):
        for target in (np.uint8, np.uint16, np.float32):
            full = {np.uint8: 255, np.uint16: 65535, np.float32: 1}
            pixels = np.array([[[0], [full[source]]]], dtype=source)
            got = to_depth(Picture(pixels, pixels[..., 0]), np.dtype(target))
            assert got.pixels.ravel().tolist() == got.alpha.ravel().tolist() == [0, full[target]]


# --- In steps, in batches, in tiles --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["trained", "native", 24])
def test_a_translation_is_its_three_steps(size):
    colorize = make(channels=(1, 2), task="colorize")
    picture = Picture(noise(20, 30, 3), noise(20, 30), ("as it came",))
    prepared = colorize.prepare(picture, size=size)
    assert prepared.values.dtype == np.float32
    assert len(prepared.values) == 1
    output = colorize.generate(prepared.values[None], seed=1)
    for keep_alpha in (False, True):
        finished = colorize.finish(prepared, output[0], keep_alpha=keep_alpha)
        expected = colorize.translate(picture, size=size, seed=1, keep_alpha=keep_alpha)
        assert np.array_equal(finished.pixels, expected.pixels)
        assert finished.notes == expected.notes == ("as it came",)
        assert (finished.alpha is not None) == (expected.alpha is not None) == keep_alpha


@pytest.mark.parametrize("options", [{"dropout": 0.5, "depth": 6}, {"noise_channels": 4}, {"norm": "instance"}, {}])
def test_a_picture_of_a_batch_is_what_it_is_alone(options):
    translate = make("unet", noisy="dropout" in options, statistics="image", **options)
    values = np.random.default_rng(0).uniform(-1, 1, (3, 3, 50, 70)).astype(np.float32)
    together = translate.generate(values, seed=5)
    assert together.shape == values.shape
    for one, picture in zip(together, values, strict=True):
        assert np.allclose(translate.generate(picture[None], seed=5)[0], one, atol=1e-5)


def test_a_batch_goes_through_in_parts_where_it_has_too_many_pixels(monkeypatch):
    translate = make()
    values = np.random.default_rng(0).uniform(-1, 1, (5, 3, 16, 32)).astype(np.float32)
    expected = translate.generate(values)
    monkeypatch.setattr(translator, "MAX_PIXELS_AT_ONCE", 2 * 16 * 32)
    batches, run = [], translate.runtime.run
    monkeypatch.setattr(
        translate.runtime, "run", lambda source, *, condition=None, seed: batches.append(len(source)) or run(source, seed=seed)
    )
    assert np.allclose(translate.generate(values), expected, atol=1e-5)
    assert batches == [2, 2, 1]


@pytest.fixture
def small_tiles(monkeypatch) -> None:
    """Tiles as if pictures of 100 x 100 were large."""
    monkeypatch.setattr(translator, "MAX_PIXELS_AT_ONCE", 100**2)
    monkeypatch.setattr(tiling, "TILE", 192)


def at_once(translate: Translator, picture: Picture, *, size: object) -> np.ndarray:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(translator, "MAX_PIXELS_AT_ONCE", 10**9)
        return translate.translate(picture, size=size).pixels


@pytest.mark.parametrize("size", ["native", 210])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("task", ["pair", "colorize"])
def test_a_large_picture_in_tiles_is_what_it_is_at_once(small_tiles, task, dtype, size):
    """Up to rounding: the network's radius is known, and batch norm uses its running statistics."""
    translate = make(task=task, channels=(1, 2) if task == "colorize" else (3, 3))
    picture = Picture(noise(200, 333, 3, dtype=dtype), None, ("as it came",))
    expected = at_once(translate, picture, size=size)
    worked = spy(translate)
    got = translate.translate(picture, size=size)
    assert got.pixels.dtype == dtype
    assert np.abs(got.pixels.astype(np.float64) - expected).max() <= (1 if dtype == np.uint8 else 3 if dtype == np.uint16 else 1e-5)
    assert got.notes == ("as it came", "translated in tiles")
    assert len(worked) > 1
    assert max(height * width for height, width in worked) <= 192**2


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"statistics": "image"}, "the whole picture"),
        ({"name": "resnet", "norm": "instance"}, "the whole picture"),
        ({"name": "unet", "noisy": True, "depth": 6}, "dropout"),
    ],
)
def test_tiles_that_cannot_be_exact_say_so(small_tiles, options, why):
    translate = make(**options)
    picture = Picture(noise(300, 333, 3))
    got = translate.translate(picture, size="native")
    assert len(got.notes) == 1
    assert "fade into each other" in got.notes[0]
    assert why in got.notes[0]
    assert np.array_equal(translate.translate(picture, size="native").pixels, got.pixels)


def test_a_large_picture_is_never_there_as_a_whole_in_floats(small_tiles):
    translate = copier()
    prepared = translate.prepare(Picture(noise(200, 333, 3)), size="native")
    assert prepared.values is None
    assert translate.prepare(Picture(noise(90, 90, 3)), size="native").values is not None
    assert translate.prepare(Picture(noise(200, 333, 3)), size="trained").values is not None
    picture = Picture(noise(200, 333, 3), noise(200, 333))
    kept = translate.translate(picture, size="native", keep_alpha=True)
    assert np.array_equal(kept.pixels, picture.pixels)
    assert np.array_equal(kept.alpha, picture.alpha)
    assert translate.translate(picture, size="native").alpha is None


def test_a_large_tensor_goes_through_in_tiles_as_well(small_tiles):
    translate = make()
    picture = noise(200, 333, 3)
    expected = at_once(translate, Picture(picture.astype(np.float32) / 255), size="native")
    got = translate(torch.from_numpy(to_model(picture)), size="native")
    assert np.abs(got.numpy() - to_model(expected)).max() < 1e-4


def test_a_large_picture_with_a_wrong_seed_or_too_little_memory_is_refused_as_a_small_one(small_tiles, monkeypatch):
    translate = copier()
    picture = Picture(noise(200, 333, 3))
    with pytest.raises(ConfigError, match="seed"):
        translate.translate(picture, size="native", seed=-1)
    monkeypatch.setattr(translate.runtime, "run", lambda source, *, condition=None, seed: np.empty(10**15))
    with pytest.raises(ImageError, match="333 x 200 pixels need more memory"):
        translate.translate(picture, size="native")


# --- The same picture gives the same output ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"dropout": 0.5, "depth": 6}, {"noise_channels": 4}, {}])
def test_the_same_picture_gives_the_same_output_whatever_else_is_in_the_list(options):
    translate = make("unet", noisy="dropout" in options, statistics="image", **options)
    first, second = noise(64, 64, 3), noise(40, 50, 3, seed=1)
    alone = translate(first)
    assert np.array_equal(translate([second, first, second])[1], alone)
    tensor = torch.from_numpy(to_model(np.stack([first, noise(64, 64, 3, seed=2)])[0]))
    assert torch.equal(translate(torch.stack([torch.zeros_like(tensor), tensor]))[1], translate(tensor))


@pytest.mark.parametrize("options", [{"dropout": 0.5, "depth": 6}, {"noise_channels": 4}])
def test_the_seed_chooses_the_noise_and_the_callers_random_numbers_are_left_alone(options):
    translate = make("unet", noisy="dropout" in options, **options)
    image = noise(64, 64, 3)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = translate(image, seed=1)
    assert torch.equal(torch.rand(1), expected)
    assert np.array_equal(translate(image, seed=1), first)
    assert not np.array_equal(translate(image, seed=2), first)


def test_the_inference_settings_of_the_model_are_used():
    image = noise(32, 32, 3)
    assert not np.array_equal(make()(image), make(statistics="image")(image))
    noisy = make("unet", depth=6, noisy=True)
    still = make("unet", depth=6)
    assert not np.array_equal(noisy(image), still(image))
    assert np.array_equal(still(image, seed=1), still(image, seed=2))


# --- Saving and loading --------------------------------------------------------------------------------------------------------------


def test_a_saved_model_translates_the_same(translate, tmp_path):
    image = noise(20, 30, 3)
    translate.save_pretrained(tmp_path / "model")
    assert np.array_equal(Translator.from_pretrained(tmp_path / "model")(image), translate(image))


def test_saving_replaces_nothing_unasked(translate, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("years of work", encoding="utf-8")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="not a model"):
            translate.save_pretrained(tmp_path / "thesis", overwrite=overwrite)
    with pytest.raises(OutputError, match="not a model"):
        translate.save_pretrained(tmp_path / "thesis/chapter.txt")
    assert (tmp_path / "thesis/chapter.txt").read_text(encoding="utf-8") == "years of work"
    translate.save_pretrained(tmp_path / "model")
    with pytest.raises(OutputError, match="a model here already"):
        translate.save_pretrained(tmp_path / "model")
    make(channels=(1, 1)).save_pretrained(tmp_path / "model", overwrite=True)
    assert Translator.from_pretrained(tmp_path / "model").output_channels == 1


def test_the_model_of_a_run_is_found(translate, tmp_path):
    (tmp_path / "config.yaml").write_text("recipe: test\n", encoding="utf-8")
    with pytest.raises(ModelError, match="no model yet"):
        find_model(tmp_path)
    translate.save_pretrained(tmp_path / "model")
    assert find_model(tmp_path) == tmp_path / "model"
    assert find_model(tmp_path / "model") == tmp_path / "model"


def test_unknown_and_missing_devices(translate):
    for name in ("cuda", "cuda:0", "tpu"):
        if name != "cuda" or not torch.cuda.is_available():
            with pytest.raises(ConfigError):
                Translator(translate.generator, translate.description, device=name)


def test_memory_that_runs_out_is_the_pictures_error_and_anything_else_the_models(translate, monkeypatch):
    def raising(message: str):
        def forward(*arguments: object) -> torch.Tensor:
            raise RuntimeError(message)

        return forward

    monkeypatch.setattr(translate.generator, "forward", raising("DefaultCPUAllocator: can't allocate memory: you tried 10^12 bytes"))
    with pytest.raises(ImageError, match="more memory"):
        translate(noise(8, 8, 3))
    monkeypatch.setattr(translate.generator, "forward", raising("Given groups=1, expected input to have 3 channels"))
    with pytest.raises(ModelError, match="fails on this picture"):
        translate(noise(8, 8, 3))


# --- Files ---------------------------------------------------------------------------------------------------------------------------


class Copy(nn.Module):
    """A generator that gives its source."""

    size_multiple = min_size = 1
    noise_channels = 0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.options = {"source_channels": channels, "target_channels": channels}

    def forward(self, source, condition=None, noise=None):
        return source


def copier(channels: int = 3) -> Translator:
    network = Copy(channels)
    described = ModelDescription(TaskConfig(), describe_generator("copy", network), InferenceConfig(), size=8, recipe="test")
    return Translator(network, described, device="cpu")


def run(inputs: list[object], out: Path, *, translator: Translator | None = None, size: object = "native", **options: object):
    """Find and translate; everything below ``out`` by relative name."""
    translator = translator or copier()
    keep_alpha, overwrite = bool(options.get("keep_alpha")), bool(options.get("overwrite"))
    jobs = find_jobs([str(path) for path in inputs], out=out, channels=translator.output_channels, **options)
    report = translate_files(translator, jobs, out=out, size=size, keep_alpha=keep_alpha, overwrite=overwrite)
    assert not report.failed, report.failed
    return {path.relative_to(out).as_posix(): read(path) for path in list_pictures(out)}


@pytest.fixture
def photos(tmp_path) -> Path:
    for number, name in enumerate(["a.png", "b.jpg", "sub/a.png", "sub/deep/ü 1.webp", ".hidden.png"]):
        save(tmp_path / "photos" / name, noise(8 + number, 9, 3, seed=number))
    (tmp_path / "photos/notes.txt").write_text("no picture", encoding="utf-8")
    return tmp_path / "photos"


def test_a_file_keeps_its_name(photos, tmp_path):
    assert list(run([photos / "sub/a.png"], tmp_path / "out")) == ["a.png"]


def test_a_folder_is_taken_without_and_with_its_tree(photos, tmp_path):
    assert list(run([photos], tmp_path / "flat")) == ["a.png", "b.jpg"]
    got = run([photos], tmp_path / "tree", recursive=True)
    assert list(got) == ["a.png", "b.jpg", "sub/a.png", "sub/deep/ü 1.webp"]
    for name, picture in got.items():
        if not name.endswith("jpg"):
            assert np.array_equal(picture.pixels, read(photos / name).pixels)


def test_a_pattern_keeps_the_tree_below_its_fixed_part(photos, tmp_path, monkeypatch):
    assert list(run([photos / "*.png"], tmp_path / "one")) == ["a.png"]
    assert list(run([photos / "**/*.png"], tmp_path / "all")) == ["a.png", "sub/a.png"]
    monkeypatch.chdir(photos)
    assert list(run(["*/*.png"], tmp_path / "here")) == ["sub/a.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(photos, tmp_path):
    save(photos / "x[1].png", noise(8, 8, 3))
    assert list(run([photos / "x[1].png"], tmp_path / "out")) == ["x[1].png"]


def test_one_file_given_twice_is_translated_once(photos, tmp_path):
    jobs = find_jobs([str(photos), str(photos / "a.png")], out=tmp_path / "out", channels=3)
    assert len(jobs) == 2


def test_outputs_inside_the_input_folder_are_no_inputs_of_the_next_run(photos):
    first = run([photos], photos / "out", recursive=True)
    again = run([photos], photos / "out", recursive=True, overwrite=True)
    assert list(again) == list(first)


def test_an_output_that_is_there_stops_everything_before_the_first(photos, tmp_path):
    save(tmp_path / "out/b.jpg", noise(3, 3, 3))
    before = (tmp_path / "out/b.jpg").read_bytes()
    with pytest.raises(OutputError, match="1 of 2 outputs exist already"):
        run([photos], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.jpg"]
    assert (tmp_path / "out/b.jpg").read_bytes() == before
    assert run([photos], tmp_path / "out", overwrite=True)["b.jpg"].height == 9


def test_sources_are_never_replaced(photos):
    before = (photos / "a.png").read_bytes()
    with pytest.raises(OutputError, match="sources are never overwritten|a picture that is to be translated"):
        run([photos], photos, overwrite=True)
    assert (photos / "a.png").read_bytes() == before
    save(photos / "c.png", noise(4, 4, 3))
    assert "c.tif" in run([photos / "c.png"], photos, image_format="tif")


def test_two_sources_of_one_output_are_refused(photos, tmp_path):
    with pytest.raises(DataError, match="one output"):
        run([photos / "a.png", photos / "sub/a.png"], tmp_path / "out")
    save(photos / "b.png", noise(4, 4, 3))
    with pytest.raises(DataError, match="one output"):
        run([photos], tmp_path / "out", image_format="png")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("image_format", ["png", "JPG", ".tif", "npy", "bmp", "webp"])
def test_a_format_that_is_asked_for(photos, tmp_path, image_format):
    got = run([photos / "a.png"], tmp_path / "out", image_format=image_format)
    assert list(got) == [f"a.{image_format.lower().lstrip('.')}"]


def test_a_picture_too_deep_for_the_format_asked_for_is_reduced(tmp_path):
    deep = save(tmp_path / "deep.npy", noise(8, 8, 3, dtype=np.uint16))
    real = save(tmp_path / "real.npy", noise(8, 8, 1, dtype=np.float32))
    assert run([deep], tmp_path / "jpg", image_format="jpg")["deep.jpg"].pixels.dtype == np.uint8
    grey = run([real], tmp_path / "png", image_format="png", translator=copier(1))["real.png"].pixels
    assert grey.dtype == np.uint16
    assert np.abs(grey / 65535 - read(real).pixels).max() < 1e-4


def test_the_suffix_changes_only_where_the_format_cannot_hold_the_result(tmp_path):
    """A model of five channels, transparency in a BMP's name, 16 bits in a JPEG's name, a file without a suffix."""
    save(tmp_path / "in/grey.png", noise(8, 8, 1))
    two = make(channels=(1, 2))
    assert list(run([tmp_path / "in/grey.png"], tmp_path / "two", translator=two)) in (["grey.tif"], ["grey.npy"])
    save(tmp_path / "alpha.png", noise(8, 8, 3))
    Image.fromarray(noise(8, 8, 4)).save(tmp_path / "in/alpha.jpg", "PNG")
    assert list(run([tmp_path / "in/alpha.jpg"], tmp_path / "opaque")) == ["alpha.jpg"]
    kept = run([tmp_path / "in/alpha.jpg"], tmp_path / "alpha", keep_alpha=True)
    assert list(kept) == ["alpha.png"]
    assert kept["alpha.png"].alpha is not None
    (tmp_path / "in/bare").write_bytes((tmp_path / "in/grey.png").read_bytes())
    assert list(run([tmp_path / "in/bare"], tmp_path / "bare", translator=copier(1))) == ["bare.png"]
    Image.fromarray(noise(8, 8, dtype=np.uint16)).save(tmp_path / "in/deep.jpg", "PNG")
    assert run([tmp_path / "in/deep.jpg"], tmp_path / "deep", translator=copier(1))["deep.png"].pixels.dtype == np.uint16


def test_an_array_file_gives_an_array_file(tmp_path):
    for dtype in (np.uint8, np.uint16, np.float32):
        pixels = noise(7, 5, 5, dtype=dtype)
        source = save(tmp_path / f"{np.dtype(dtype)}.npy", pixels)
        got = run([source], tmp_path / "out" / str(np.dtype(dtype)), translator=copier(5))[source.name]
        assert np.allclose(got.pixels, pixels, atol=1e-6)


def test_a_wish_that_no_picture_of_the_model_can_have_is_refused(photos, tmp_path):
    with pytest.raises(OutputError, match="gif"):
        run([photos], tmp_path / "out", image_format="gif")
    with pytest.raises(OutputError, match="transparency"):
        run([photos], tmp_path / "out", image_format="bmp", keep_alpha=True)
    with pytest.raises(OutputError, match="5 channels"):
        find_jobs([str(photos)], out=tmp_path / "out", channels=5, image_format="png")


def test_a_bad_file_is_reported_and_the_rest_goes_on(photos, tmp_path):
    (photos / "aa.png").write_text("no picture", encoding="utf-8")
    save(photos / "four.npy", noise(8, 8, 4))
    seen = []
    jobs = find_jobs([str(photos)], out=tmp_path / "out", channels=3)
    report = translate_files(copier(), jobs, out=tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert {path.name for path in report.failed} == {"aa.png", "four.npy"}
    assert {path.name for path in report.done} == {"a.png", "b.jpg"}
    assert all(str(path) in str(error) and "fix:" in str(error) for path, error in report.failed.items())
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_nothing_is_left_where_nothing_was_written(tmp_path):
    (tmp_path / "a.png").write_text("no picture", encoding="utf-8")
    jobs = find_jobs([str(tmp_path / "a.png")], out=tmp_path / "out", channels=3)
    assert translate_files(copier(), jobs, out=tmp_path / "out").failed
    assert not (tmp_path / "out").exists()


def test_a_file_that_appears_meanwhile_is_not_overwritten(photos, tmp_path):
    jobs = find_jobs([str(photos / "a.png")], out=tmp_path / "out", channels=3)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").write_text("precious", encoding="utf-8")
    report = translate_files(copier(), jobs, out=tmp_path / "out")
    assert "exists already" in str(report.failed[photos / "a.png"])
    assert (tmp_path / "out/a.png").read_text(encoding="utf-8") == "precious"


def test_every_kind_of_result_has_a_format():
    for channels in (1, 2, 3, 4, 7):
        for depth in batch.TYPES:
            assert batch._holds(".npy", channels=channels, depth=depth, alpha=False)
    assert MAX_PIXELS > MAX_SQUARES * 256**2
