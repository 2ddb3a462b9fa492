import hashlib
import math

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from pixloom.backbones import weights
from pixloom.backbones.trunks import alexnet, inception, squeezenet
from pixloom.errors import ConfigError, DependencyError, ModelError
from pixloom.metrics.colour import colourfulness
from pixloom.metrics.distribution import frechet, kid, real_floor
from pixloom.metrics.features import FEATURES, LPIPS, Features
from pixloom.metrics.judging import PSNR_CAP, SUBSET, Judged, Judges, estimate, judge, load_judges, set_distances
from pixloom.metrics.paired import psnr, ssim


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(autouse=True)
def no_weights(monkeypatch, tmp_path):
    monkeypatch.delenv("PIXLOOM_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# --- Paired ---


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_psnr_and_ssim_are_those_of_scikit_image(channels):
    target = torch.stack([torch.nn.functional.avg_pool2d(noise(channels, 40, 52, seed=i), 3, 1, 1) for i in range(3)])
    prediction = (target + noise(3, channels, 40, 52, seed=9) * torch.tensor([0.02, 0.2, 1.0]).reshape(3, 1, 1, 1)).clamp(-1, 1)
    for i in range(3):
        a, b = prediction[i].permute(1, 2, 0).numpy().astype(np.float64), target[i].permute(1, 2, 0).numpy().astype(np.float64)
        light = (a * 127.5 + 127.5, b * 127.5 + 127.5)
        options = {"channel_axis": -1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        expected = structural_similarity(*light, data_range=255, **options)
        assert float(ssim(prediction, target)[i]) == pytest.approx(expected, abs=1e-6)
        assert float(psnr(prediction, target)[i]) == pytest.approx(peak_signal_noise_ratio(b, a, data_range=2), abs=1e-4)


def test_equal_pictures():
    picture = noise(2, 3, 16, 16)
    assert psnr(picture, picture).tolist() == [math.inf, math.inf]
    assert ssim(picture, picture).tolist() == pytest.approx([1, 1])


def test_ssim_is_exact_on_flat_pictures():
    flat = torch.full((1, 1, 16, 16), 0.9)
    c1 = 0.01**2
    expected = (2 * 0.95 * 0.9 + c1) / (0.95**2 + 0.9**2 + c1)
    assert float(ssim(flat, torch.full_like(flat, 0.8))[0]) == pytest.approx(expected, abs=1e-6)


def test_a_photographic_negative_is_not_similar():
    picture = noise(1, 3, 32, 32)
    assert float(ssim(-picture, picture)[0]) < 0


def test_ssim_refuses_pictures_smaller_than_its_window():
    assert ssim(noise(1, 3, 11, 11), noise(1, 3, 11, 11, seed=1)).isfinite().all()
    with pytest.raises(ConfigError, match="30 x 10"):
        ssim(noise(1, 3, 10, 30), noise(1, 3, 10, 30))


# --- Colour ---


def test_colourfulness_is_the_published_formula():
    pictures = noise(3, 3, 9, 7)
    for picture, value in zip(pictures.numpy().astype(np.float64), colourfulness(pictures), strict=True):
        r, g, b = (picture + 1) / 2 * 255
        rg, yb = r - g, 0.5 * (r + g) - b
        assert float(value) == pytest.approx(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()), rel=1e-5)
    assert float(colourfulness(noise(1, 1, 8, 8).expand(-1, 3, -1, -1))[0]) == pytest.approx(0, abs=1e-4)
    with pytest.raises(ConfigError):
        colourfulness(noise(1, 1, 8, 8))


# --- Distances between sets ---


def samples(count, dim, *, seed, shift=0.0, scale=1.0):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale + shift


def test_kid_is_that_of_torchmetrics():
    real, fake = samples(30, 12, seed=0), samples(30, 12, seed=1, shift=0.3)
    assert kid(real, fake).value == pytest.approx(float(poly_mmd(real, fake)), rel=1e-9)


def test_kid_of_unequal_counts_is_the_definition():
    x, y = samples(7, 4, seed=0).numpy(), samples(5, 4, seed=1, shift=0.5).numpy()
    k = lambda a, b: (a @ b / 4 + 1) ** 3  # noqa: E731
    within_x = sum(k(x[i], x[j]) for i in range(7) for j in range(7) if i != j) / 42
    within_y = sum(k(y[i], y[j]) for i in range(5) for j in range(5) if i != j) / 20
    between = sum(k(a, b) for a in x for b in y) / 35
    assert kid(torch.from_numpy(x), torch.from_numpy(y)).value == pytest.approx(within_x + within_y - 2 * between, rel=1e-9)


def test_the_error_of_kid_is_the_jackknife_and_predicts_the_spread():
    real, fake = samples(9, 3, seed=0), samples(8, 3, seed=1, shift=0.5)
    drop = lambda matrix, i: torch.cat([matrix[:i], matrix[i + 1 :]])  # noqa: E731
    left_x = np.array([kid(drop(real, i), fake).value for i in range(9)])
    left_y = np.array([kid(real, drop(fake, i)).value for i in range(8)])
    assert kid(real, fake).error == pytest.approx(np.sqrt(8 * left_x.var() + 7 * left_y.var()), rel=1e-9)
    runs = [kid(samples(60, 8, seed=2 * i), samples(60, 8, seed=2 * i + 1, shift=0.4)) for i in range(60)]
    assert np.mean([run.error for run in runs]) == pytest.approx(np.std([run.value for run in runs]), rel=0.4)


def test_kid_over_subsets():
    real, fake = samples(40, 6, seed=0), samples(50, 6, seed=1, shift=0.5)
    assert kid(real, fake, subset_size=30) == kid(real, fake, subset_size=30)
    assert kid(real, fake, subset_size=30, seed=1) != kid(real, fake, subset_size=30)
    assert kid(real, fake, subset_size=30, num_subsets=400).value == pytest.approx(kid(real, fake).value, rel=0.1)
    whole = kid(real, fake[:40], subset_size=40, num_subsets=2)
    assert (whole.value, whole.error) == (pytest.approx(kid(real, fake[:40]).value), pytest.approx(0, abs=1e-12))
    with pytest.raises(ConfigError, match="subset_size cannot be 41"):
        kid(real, fake, subset_size=41)


@pytest.mark.parametrize(("count", "dim"), [(60, 8), (5, 8), (9, 8)])
def test_frechet_is_that_of_torchmetrics_also_where_covariances_are_rank_deficient(count, dim):
    real, fake = samples(count, dim, seed=0), samples(count + 3, dim, seed=1, shift=0.5, scale=2.0)
    expected = float(_compute_fid(real.mean(0), torch.cov(real.T), fake.mean(0), torch.cov(fake.T)))
    # torchmetrics takes the roots of tiny eigenvalues that should be zero.
    assert frechet(real, fake) == pytest.approx(expected, abs=1e-6 if count > dim + 1 else 1e-5)


def test_frechet_of_known_gaussians():
    # Exact moments: the corners of a box have mean 0 and covariance diag(s^2) * n / (n - 1).
    corners = torch.tensor([[i, j] for i in (-1.0, 1) for j in (-1.0, 1)], dtype=torch.float64)
    scaled = corners * torch.tensor([2.0, 3.0]) + torch.tensor([1.0, 0.0])
    assert frechet(corners, scaled) == pytest.approx(1 + 4 / 3 * ((2 - 1) ** 2 + (3 - 1) ** 2))
    assert frechet(corners, corners) == pytest.approx(0, abs=1e-12)


def test_floors():
    real = samples(200, 6, seed=0)
    assert abs(real_floor(real, lambda x, y: kid(x, y).value)) < 0.05
    assert real_floor(real, frechet) == real_floor(real, frechet)
    assert real_floor(real[:20], frechet) > real_floor(real, frechet) > 0
    sizes = []
    real_floor(real[:21], lambda x, y: sizes.append((len(x), len(y))) or 0.0, repeats=3)
    assert sizes == [(10, 10)] * 3
    with pytest.raises(ConfigError):
        real_floor(real[:5], frechet)


@pytest.mark.parametrize("distance", [kid, frechet])
def test_distances_refuse_what_they_cannot_compare(distance):
    with pytest.raises(ConfigError, match="dimensions"):
        distance(samples(9, 4, seed=0), samples(9, 5, seed=0))
    with pytest.raises(ConfigError, match="too few"):
        distance(samples(9, 4, seed=0), samples(1, 4, seed=0))


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 6), st.integers(0, 99))
def test_frechet_is_a_distance(m, n, dim, seed):
    x, y = samples(m, dim, seed=seed), samples(n, dim, seed=seed + 100)
    assert frechet(x, y) >= 0
    assert frechet(x, y) == pytest.approx(frechet(y, x), abs=1e-9)


# --- Feature networks ---


def test_lpips_gives_the_published_values(real_weights):
    generator = torch.Generator().manual_seed(42)
    a, b = (torch.rand(2, 3, 100, 100, generator=generator) * 2 - 1 for _ in range(2))
    assert LPIPS(folder=real_weights)(a, b).tolist() == pytest.approx([0.1024, 0.0938], abs=5e-5)


def test_alex_lpips_tells_near_from_far(real_weights):
    a = torch.nn.functional.avg_pool2d(noise(1, 3, 68, 68), 5, 1)
    distance = LPIPS(net="alex", folder=real_weights)
    near, far = (float(distance((a + amount * noise(1, 3, 64, 64, seed=1)).clamp(-1, 1), a)[0]) for amount in (0.05, 0.5))
    assert 0 < near < far / 2


@pytest.mark.parametrize(("net", "smallest"), [("squeeze", 17), ("alex", 31)])
def test_lpips_properties(random_weights, net, smallest):
    distance = LPIPS(net=net, folder=random_weights)
    a, b = noise(2, 3, 40, 40), noise(2, 3, 40, 40, seed=1)
    assert distance(a, a).tolist() == [0, 0]
    assert distance(a, b).tolist() == pytest.approx(distance(b, a).tolist())
    assert (distance(a, b) > 0).all()
    assert not any(parameter.requires_grad for parameter in distance.parameters())
    grey = a[:, :1]
    assert distance(grey, b[:, :1]).tolist() == pytest.approx(distance(grey.expand(-1, 3, -1, -1), b[:, :1].expand(-1, 3, -1, -1)).tolist())
    a.requires_grad_()
    distance(a, b).sum().backward()
    assert a.grad.isfinite().all()
    assert (a.grad != 0).any()
    tiny = noise(1, 3, smallest, smallest)
    assert distance.trunk(tiny)[-1].shape[-1] >= 1
    with pytest.raises(ConfigError, match=f"less than {smallest}"):
        distance(tiny[..., 1:], tiny[..., 1:])
    with pytest.raises(RuntimeError):
        distance.trunk(tiny[..., 1:])  # the declared size is the true one
    with pytest.raises(ConfigError, match="2 channels"):
        distance(noise(1, 2, 40, 40), noise(1, 2, 40, 40))


@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_network(random_weights, name):
    features = Features(name, folder=random_weights)
    a = noise(2, 3, 40, 36)
    vectors = features(a)
    assert vectors.shape == (2, features.dim)
    assert vectors.isfinite().all()
    assert vectors.std() > 0
    torch.testing.assert_close(features(a[1:]), vectors[1:])
    torch.testing.assert_close(features(a[:, :1]), features(a[:, :1].expand(-1, 3, -1, -1)))
    assert features.sha256 == hashlib.sha256((random_weights / features.spec.file).read_bytes()).hexdigest()
    assert features.spec.frechet != "fid"
    with pytest.raises(ConfigError, match="4 channels"):
        features(noise(1, 4, 40, 40))


def test_small_pictures_have_no_squeeze_features(random_weights):
    with pytest.raises(ConfigError, match="at least 17"):
        Features("squeeze", folder=random_weights)(noise(1, 3, 16, 40))


def test_inception_shapes_and_padding():
    """The published sizes of the grids, and average pools that do not count the padding."""
    network = inception(768)
    grids = {}
    for name, layer in network.named_children():
        layer.register_forward_hook(lambda _, __, output, name=name: grids.__setitem__(name, tuple(output.shape[1:])))
    with torch.no_grad():
        network(torch.zeros(1, 3, 299, 299))
    wanted = {"Conv2d_1a_3x3": (32, 149, 149), "pool_64": (64, 73, 73), "pool_192": (192, 35, 35), "Mixed_5d": (288, 35, 35)}
    assert wanted.items() <= grids.items()
    assert grids["Mixed_6e"] == (768, 17, 17)
    assert torch.equal(network.Mixed_5b.average(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))


def test_the_real_inception_is_near_normal_in_every_layer(real_weights):
    """Batch norm is folded into the weights: before ReLU, a network wired rightly has a spread of about 1 on photographs."""
    network = Features("inception-768", folder=real_weights).network
    spreads = []
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(
                lambda layer, inputs, _: spreads.append(
                    float(layer._conv_forward(inputs[0], layer.weight, layer.bias).std((0, 2, 3)).median())
                )
            )
    photo = pytest.importorskip("skimage.data").astronaut()[:300, :300]
    with torch.no_grad():
        network(torch.from_numpy(photo).permute(2, 0, 1)[None, :, :299, :299].float() / 127.5 - 1)
    assert len(spreads) > 60
    assert 0.5 < min(spreads) <= max(spreads) < 1.5
    assert float(np.median(spreads)) == pytest.approx(1, abs=0.15)


def test_real_features_see_blur(real_weights):
    features = Features("squeeze", folder=real_weights)
    sharp = torch.cat([torch.nn.functional.avg_pool2d(noise(1, 3, 66, 66, seed=i), 3, 1) for i in range(12)])
    other = torch.cat([torch.nn.functional.avg_pool2d(noise(1, 3, 66, 66, seed=i + 50), 3, 1) for i in range(12)])
    blurred = torch.nn.functional.avg_pool2d(other, 5, 1, 2)
    assert abs(kid(features(sharp), features(other)).value) < kid(features(sharp), features(blurred)).value / 5


# --- Weights ---


def test_weights_are_sought_in_order(tmp_path, monkeypatch):
    places = [tmp_path / "given", tmp_path / "environment", tmp_path / "cache/pixloom/weights"]
    monkeypatch.setenv("PIXLOOM_WEIGHTS", str(places[1]))
    assert weights.find_weights("x", folder=places[0]) is None
    for place in reversed(places):
        place.mkdir(parents=True)
        (place / "x").touch()
        assert weights.find_weights("x", folder=places[0]) == place / "x"


def test_missing_weights_are_named_with_the_remedy(tmp_path):
    with pytest.raises(DependencyError) as caught:
        LPIPS(folder=tmp_path / "nowhere")
    for wanted in (weights.SQUEEZENET, "nowhere", "cache", "squeezenet1_1-b8a52dc0.pth", "--weights"):
        assert wanted in str(caught.value)


def test_names_are_checked():
    with pytest.raises(ConfigError, match="Did you mean 'squeeze'"):
        LPIPS(net="squeez")
    with pytest.raises(ConfigError, match="Did you mean 'inception-768'"):
        Features("inception-76")


def test_damaged_weights(random_weights):
    (random_weights / weights.SQUEEZENET).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="cannot read"):
        Features("squeeze", folder=random_weights)
    safetensors.torch.save_file(alexnet().state_dict(), random_weights / weights.SQUEEZENET)
    with pytest.raises(ModelError, match="do not fit"):
        Features("squeeze", folder=random_weights)


def published(folder):
    """Synthetic files with the names, keys and shapes of the published ones."""
    folder.mkdir()
    extra = {"classifier.1.weight": torch.zeros(2, 2)}
    torch.save(squeezenet().state_dict() | extra, folder / "squeezenet1_1-b8a52dc0.pth")
    torch.save(alexnet().state_dict() | extra, folder / "alexnet-owt-7be5be79.pth")
    for net, trunk in (("squeeze", squeezenet()), ("alex", alexnet())):
        torch.save({f"lin{k}.model.1.weight": torch.rand(1, width, 1, 1) for k, width in enumerate(trunk.widths)}, folder / f"{net}.pth")


def test_published_weights_are_imported(tmp_path):
    published(tmp_path / "downloads")
    written = weights.import_weights(tmp_path / "downloads")
    assert {path.name for path in written} == {weights.SQUEEZENET, weights.ALEXNET, weights.HEADS}
    original = torch.load(tmp_path / "downloads" / "squeezenet1_1-b8a52dc0.pth", weights_only=True)
    trunk = LPIPS().trunk
    assert all(torch.equal(value, original[name]) for name, value in trunk.state_dict().items())
    assert LPIPS(net="alex")(noise(1, 3, 32, 32), noise(1, 3, 32, 32, seed=1)) > 0
    kept = weights.import_weights(tmp_path / "downloads" / "alex.pth")
    assert LPIPS().net == "squeeze", f"the squeeze heads stay in {kept}"


def test_batch_norm_is_folded_into_the_published_inception(tmp_path):
    torch.manual_seed(0)
    state, plain = {}, inception(768)
    for name, value in plain.state_dict().items():
        layer, kind = name.rsplit(".", 1)
        if kind == "weight":
            state[f"{layer}.conv.weight"] = value
            state |= {f"{layer}.bn.{part}": torch.rand(len(value)) + 0.5 for part in ("weight", "bias", "running_mean", "running_var")}
    state["fc.weight"] = torch.zeros(3, 3)
    torch.save(state, tmp_path / "pt_inception-2015-12-05-6726825d.pth")
    (path,) = weights.import_weights(tmp_path / "pt_inception-2015-12-05-6726825d.pth", target=tmp_path)
    folded = weights.load_weights(path)
    x = noise(2, 3, 15, 15)
    bn = {part: state[f"Conv2d_1a_3x3.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")}
    convolved = torch.nn.functional.conv2d(x, state["Conv2d_1a_3x3.conv.weight"], stride=2)
    expected = torch.nn.functional.batch_norm(convolved, **bn, eps=1e-3)
    got = torch.nn.functional.conv2d(x, folded["Conv2d_1a_3x3.weight"], folded["Conv2d_1a_3x3.bias"], stride=2)
    torch.testing.assert_close(got, expected, atol=2e-3, rtol=2e-3)
    assert Features("inception-192", folder=tmp_path)(x).shape == (2, 192)


def test_what_is_not_published_weights_is_refused(tmp_path):
    with pytest.raises(DependencyError, match="no published weights"):
        weights.import_weights(tmp_path)
    (tmp_path / "lpips_alex.safetensors").touch()
    with pytest.raises(DependencyError, match="brought in already"):
        weights.import_weights(tmp_path)
    (tmp_path / "alexnet-owt-7be5be79.pth").write_bytes(b"<html>not found</html>")
    with pytest.raises(ModelError, match="cannot read the published weights"):
        weights.import_weights(tmp_path)
    torch.save(squeezenet().state_dict(), tmp_path / "alexnet-owt-7be5be79.pth")
    with pytest.raises(ModelError, match="do not fit"):
        weights.import_weights(tmp_path)
    assert not list((tmp_path / "cache/pixloom/weights").glob("*.safetensors"))


# --- Judging ---


def pairs(count, *, size=32, channels=3, amount=0.3):
    for i in range(count):
        target = noise(channels, size, size, seed=i)
        yield Judged(f"p{i}", (target + amount * noise(channels, size, size, seed=i + 100)).clamp(-1, 1), target)


def test_intervals_are_bootstrap_percentiles():
    values = list(np.random.default_rng(0).normal(3, 1, 400))
    got = estimate(values)
    assert got.mean == pytest.approx(np.mean(values))
    assert (got.mean - got.low, got.high - got.mean) == pytest.approx((1.96 / 20, 1.96 / 20), rel=0.15)
    assert estimate([1.0, math.inf]).mean == (1 + PSNR_CAP) / 2
    assert estimate(values, seed=1) != got


def test_without_weights_the_rest_is_measured_and_the_lack_is_said(tmp_path):
    verdict = judge(pairs(7), judges=load_judges(colour=True))
    assert list(verdict.means) == ["psnr", "ssim", "colourfulness", "colourfulness_target"]
    assert set(verdict.missing) == {"lpips", "kid"}
    assert "--weights" in verdict.missing["lpips"]
    assert [row["id"] for row in verdict.rows] == [f"p{i}" for i in range(7)]


def test_all_measures_together(random_weights):
    judges = load_judges(weights=random_weights, features="squeeze")
    verdict = judge(pairs(8), judges=judges)
    assert list(verdict.means) == ["lpips", "kid_squeeze", "frechet_squeeze", "psnr", "ssim"]
    assert set(verdict.floors) == {"kid_squeeze", "frechet_squeeze"}
    fake = torch.cat([judges.features(prediction[None]) for _, prediction, *_ in pairs(8)])
    real = torch.cat([judges.features(target[None]) for _, _, target, *_ in pairs(8)])
    assert verdict.means["kid_squeeze"].mean == pytest.approx(kid(real, fake).value)
    assert verdict.means["frechet_squeeze"].mean == pytest.approx(frechet(real, fake))
    assert verdict.means["frechet_squeeze"].low is None
    again = judge(pairs(8), judges=judges, real=verdict.real)
    assert again == verdict
    record = judges.protocol()
    assert record["features"]["sha256"] == judges.features.sha256
    assert set(record["lpips"]["sha256"]) == {weights.SQUEEZENET, weights.HEADS}


def test_auto_prefers_the_inception_network(random_weights):
    assert load_judges(weights=random_weights, lpips=None).features.name == "inception-768"
    (random_weights / weights.INCEPTION).unlink()
    assert load_judges(weights=random_weights, lpips=None).features.name == "squeeze"
    with pytest.raises(DependencyError):
        load_judges(weights=random_weights, features="inception-768")
    assert load_judges(lpips=None, features=None) == Judges()


def test_what_cannot_be_measured_is_said(random_weights):
    judges = load_judges(weights=random_weights, features="squeeze", colour=True)
    few = judge(pairs(2), judges=judges)
    assert "kid_squeeze" in few.missing
    small = judge(pairs(7, size=10), judges=judges)
    assert list(small.means) == ["psnr", "colourfulness", "colourfulness_target"]
    assert {"ssim", "lpips", "kid_squeeze", "frechet_squeeze"} <= set(small.missing)
    four = judge(pairs(7, channels=4), judges=judges)
    assert list(four.means) == ["psnr", "ssim"]
    assert {"lpips", "colourfulness", "kid_squeeze"} <= set(four.missing)


def test_judges_refuse_nonsense():
    with pytest.raises(ConfigError, match="no pictures"):
        judge([], judges=Judges())
    with pytest.raises(ConfigError, match="p"):
        judge([Judged("p", noise(3, 16, 16), noise(3, 16, 17))], judges=Judges())
    with pytest.raises(ConfigError, match="not finite"):
        judge([Judged("p", noise(3, 16, 16) / 0, noise(3, 16, 16))], judges=Judges())


def test_sets_that_are_no_pairs_have_a_kid_of_fixed_subsets_too():
    looking = object.__new__(Features)
    looking.spec = FEATURES["squeeze"]
    real, fake = samples(40, 6, seed=0), samples(30, 6, seed=1, shift=0.5)
    for paired in (False, True):
        distances, _, _ = set_distances(real, list(fake.split(1)), judges=Judges(features=looking, paired=paired))
        assert (f"kid_squeeze, subsets of {SUBSET}" in distances) is not paired
    few, _, _ = set_distances(real, list(fake[: SUBSET - 1].split(1)), judges=Judges(features=looking, paired=False))
    assert list(few) == ["kid_squeeze", "frechet_squeeze"]
