"""DualContrast: the terms it computes, on which pairs, and which weights they reach."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualcontrast import losses, views
from dualcontrast.errors import SettingError
from dualcontrast.harmonic_networks import HarmonicEncoder
from dualcontrast.methods.base import Batch, Posterior, Preset
from dualcontrast.methods.dualcontrast import (
    DEFAULT,
    PAPER,
    REFERENCE,
    DualContrastConfig,
    DualContrastMethod,
    Weights,
)
from dualcontrast.random_streams import torch_stream
from dualcontrast.settings import replace
from dualcontrast.training.engine import build_method
from dualcontrast.views import as_a_view, random_view, rotate, view_pair
from dualcontrast.wedge import tilt_wedge

SHAPE = (1, 16, 16)
TERMS_OF_THE_PAPER = {
    "reconstruction",
    "kl_content",
    "kl_transformation",
    "con_c_positive",
    "con_c_negative",
    "con_z_positive",
    "con_z_negative",
}


def method_of(config: DualContrastConfig) -> DualContrastMethod:
    method = build_method(DualContrastMethod, config, SHAPE, True, seed=0)
    assert isinstance(method, DualContrastMethod)
    return method


def images(count: int = 12) -> torch.Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(5))


def all_terms(method: DualContrastMethod, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    terms = {}
    for phase in method.phases():
        terms |= method.losses(Batch(batch), torch_stream(0, "step"), phase.name)
    return terms


@pytest.mark.parametrize("preset", [PAPER, REFERENCE])
def test_the_presets_from_the_paper_have_its_terms(preset):
    assert set(all_terms(method_of(preset.config), images())) == TERMS_OF_THE_PAPER


def test_the_terms_of_the_paper_are_its_equations():
    """Equations 2 to 4, from the pieces, with the same random draws."""
    method, batch = method_of(PAPER.config), images()
    terms = method.losses(Batch(batch), torch_stream(0, "step"), "all")

    draws = torch_stream(0, "step")
    views = random_view(batch, PAPER.config.views, draws).images
    (c, c_log_variance), (z, z_log_variance) = method.encode(batch)
    (c_view, _), (z_view, _) = method.encode(views)
    sampled = [
        mean + torch.exp(log_variance / 2) * torch.randn(mean.shape, generator=draws)
        for mean, log_variance in ((c, c_log_variance), (z, z_log_variance))
    ]
    mse = ((method.decode(*sampled) - batch) ** 2).mean()
    kl = 0.5 * (z**2 + z_log_variance.exp() - 1 - z_log_variance).sum(1).mean() / math.prod(SHAPE)
    partners = losses.derangement(len(batch), draws)

    def cosine(a, b):
        return ((a * b).sum(1) / a.norm(dim=1) / b.norm(dim=1)).abs().mean()

    expected = {
        "reconstruction": mse,
        "kl_transformation": kl,
        "con_c_positive": 1 - cosine(c, c_view),
        "con_c_negative": cosine(c, c[partners]),
        "con_z_negative": cosine(z, z_view),
    }
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4, abs=1e-6), name


def test_positive_pairs_of_z_differ_in_content_only():
    """`reference` decodes both images of a pair from one z; a decoder of z alone gives equal codes."""
    method = method_of(REFERENCE.config)
    with torch.no_grad():
        method.decoder.from_content.weight.zero_()
    terms = all_terms(method, images())
    assert terms["con_z_positive"].item() == pytest.approx(0, abs=1e-5)
    # `paper` draws two codes z, so even then the pair differs.
    method = method_of(PAPER.config)
    with torch.no_grad():
        method.decoder.from_content.weight.zero_()
        method.decoder.from_transformation.weight.mul_(100)
        method.encoder.transformation_mean.bias.zero_()
    assert all_terms(method, images())["con_z_positive"].item() > 1e-5


def reached(method: DualContrastMethod, term: str) -> set[str]:
    """Parts of the network that receive a gradient from one term."""
    method.zero_grad()
    terms = {}
    for phase in method.phases():
        terms = method.losses(Batch(images()), torch_stream(0, "step"), phase.name)
        if term in terms:
            terms[term].backward(inputs=phase.parameters)
    return {
        ".".join(name.split(".")[:2])
        for name, parameter in method.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }


WITH_PAIRS_READ = Preset(replace(DEFAULT.config, {"rotation_reader": "pair"}), DEFAULT.recipe)
WITH_DIFFERENCES_READ = Preset(replace(DEFAULT.config, {"rotation_reader": "difference"}), DEFAULT.recipe)
WITH_INDEPENDENT_C = Preset(replace(DEFAULT.config, {"weights.independence_c": 1.0}), DEFAULT.recipe)
WITH_PRODUCTS = Preset(replace(DEFAULT.config, {"weights.independence_products": 1.0}), DEFAULT.recipe)
C_MEAN, Z_MEAN = "encoder.content_mean", "encoder.transformation_mean"
DECODER = {"decoder.from_content", "decoder.from_transformation", "decoder.layers"}


@pytest.mark.parametrize(
    ("preset", "term", "expected"),
    [
        (PAPER, "con_c_positive", {"encoder.features", C_MEAN}),
        (PAPER, "con_c_negative", {"encoder.features", C_MEAN}),
        (PAPER, "con_z_negative", {"encoder.features", Z_MEAN}),
        (PAPER, "con_z_positive", {"encoder.features", C_MEAN, Z_MEAN} | DECODER),
        (REFERENCE, "con_z_positive", {"encoder.features", Z_MEAN}),
        (DEFAULT, "con_z_positive", {"encoder.features", Z_MEAN}),
        (DEFAULT, "con_c_exchanged", {"encoder.features", C_MEAN}),
        (
            DEFAULT,
            "rotation",
            {"encoder.features", Z_MEAN, "angle_reader.weight", "angle_reader.slope", "angle_reader.offset"},
        ),
        (WITH_DIFFERENCES_READ, "rotation", {"encoder.features", Z_MEAN, "angle_reader.weight"}),
        (WITH_PAIRS_READ, "rotation", {"encoder.features", Z_MEAN, "angle_reader.0", "angle_reader.2"}),
        (DEFAULT, "rotation_c", {"encoder.features", C_MEAN}),
        (DEFAULT, "independence", {"encoder.features", Z_MEAN}),
        (WITH_PRODUCTS, "independence_products", {"encoder.features", Z_MEAN}),
        (WITH_INDEPENDENT_C, "independence_c", {"encoder.features", C_MEAN}),
    ],
)
def test_gradients_reach_exactly_the_weights_that_the_preset_says(preset, term, expected):
    assert reached(method_of(preset.config), term) == expected


def test_reference_takes_a_second_step_on_the_encoder_only():
    first, second = method_of(REFERENCE.config).phases()
    method = method_of(REFERENCE.config)
    assert len(first.parameters) == len(list(method.parameters()))
    assert len(second.parameters) == len(list(method.encoder.parameters()))
    assert [phase.name for phase in method_of(PAPER.config).phases()] == ["all"]


def test_weights_of_zero_take_terms_away():
    off = {name: 0.0 for name in TERMS_OF_THE_PAPER if name.startswith("con_")}
    config = replace(REFERENCE.config, {"weights": off})
    method = method_of(config)
    assert [phase.name for phase in method.phases()] == ["all"]
    assert set(all_terms(method, images())) == {"reconstruction", "kl_content", "kl_transformation"}


def test_reference_divides_contrast_by_the_length_of_the_code():
    config = replace(REFERENCE.config, {"content_dim": 4, "transformation_dim": 8})
    weights = method_of(config).weights(0.0)
    assert weights["con_c_positive"] == 1 / 4 and weights["con_z_negative"] == 1 / 8
    assert method_of(PAPER.config).weights(0.0)["con_c_positive"] == Weights().con_c_positive


def test_exchanged_content_is_that_of_the_other_view():
    """With a decoder that shows content alone, the reconstruction of x is made from its view's content."""
    config = replace(DEFAULT.config, {"exchange_share": 1.0})
    method, batch = method_of(config).eval(), images()
    views = random_view(batch, config.views, torch_stream(0, "step")).images
    seen = []
    decode = method.decode
    method.decode = lambda c, z: (seen.append(c), decode(c, z))[1]  # type: ignore[method-assign]
    with torch.no_grad():
        for head in (method.encoder.content_log_variance, method.encoder.transformation_log_variance):
            head.weight.zero_()
            head.bias.fill_(-40)
        method.losses(Batch(batch), torch_stream(0, "step"), "all")
        expected = torch.cat((method.encode(views).content.mean, method.encode(batch).content.mean))
    assert torch.allclose(seen[0], expected, atol=1e-4)


def test_codes_of_volumes_are_not_parallel_at_the_start():
    """|cos| has no gradient where all codes are parallel, which is how the paper's 3-D encoder starts."""
    shape = (1, 16, 16, 16)
    volumes = torch.rand(32, *shape, generator=torch.Generator().manual_seed(5))

    def mean_absolute_cosine(preset):
        with torch.no_grad():
            c = (
                build_method(DualContrastMethod, preset.config, shape, True, seed=0)
                .encode(volumes)
                .content.mean
            )
        unit = torch.nn.functional.normalize(c, dim=1)
        return (unit @ unit.T).abs().mean().item()

    assert mean_absolute_cosine(PAPER) > 0.95
    # Random directions in 10 dimensions have a mean |cos| of 0.25.
    assert mean_absolute_cosine(DualContrastMethod.presets["subtomogram"]) < 0.4
    centred = Preset(replace(DEFAULT.config, {"centre_codes": True}), DEFAULT.recipe)
    assert mean_absolute_cosine(centred) < 0.4


def test_posterior_samples_have_the_posterior_s_moments():
    posterior = Posterior(torch.full((100_000, 1), 2.0), torch.full((100_000, 1), math.log(9.0)))
    sample = posterior.sample(torch_stream(0, "test"))
    assert sample.mean().item() == pytest.approx(2.0, abs=0.05)
    assert sample.std().item() == pytest.approx(3.0, abs=0.05)


@given(
    st.integers(16, 40),
    st.integers(16, 40),
    st.integers(4, 9),
    st.sampled_from(["default", "paper", "reference"]),
)
@settings(max_examples=15, deadline=None)
def test_any_image_shape_and_batch_size(height, width, count, preset):
    config = DualContrastMethod.presets[preset].config
    method = build_method(DualContrastMethod, config, (1, height, width), True, seed=0)
    batch = torch.rand(count, 1, height, width)
    for phase in method.phases():
        terms = method.losses(Batch(batch), torch_stream(0, "step"), phase.name)
        assert np.isfinite([value.item() for value in terms.values()]).all()


def test_only_measured_frequencies_are_reconstructed():
    """What a decoder draws inside the missing wedge costs nothing; outside, it does."""
    shape = (1, 16, 16, 16)
    config = replace(PAPER.config, {"reconstruct_views": True, "views": {"rotations": "uniform"}})
    method = build_method(DualContrastMethod, config, shape, False, seed=0)
    volumes = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    wedges = tilt_wedge((16, 16, 16), -60, 60).expand(4, -1, -1, -1)
    z, _, x = torch.meshgrid(*[torch.arange(16.0)] * 3, indexing="ij")
    drawn = {}

    def reconstruction(wave, measured):
        draws = torch_stream(0, "step")
        views = random_view(volumes, config.views, torch_stream(0, "step"), measured).images
        drawn["wave"] = torch.cat((volumes, views)) + wave
        method.decode = lambda content, transformation: drawn["wave"][: len(content)]  # type: ignore
        return method.losses(Batch(volumes, measured), draws, "all")["reconstruction"].item()

    lost, kept = (torch.cos(2 * math.pi * 5 * axis / 16) for axis in (z, x))
    # The mean square of a cosine is 1/2; the preset adds the terms of the image and of its view.
    assert reconstruction(lost, None) == pytest.approx(1.0, rel=1e-4)
    assert reconstruction(lost, wedges) == pytest.approx(0.0, abs=1e-9)
    # The turned wedges of the views may take a part of it.
    assert 0.5 < reconstruction(kept, wedges) <= 1.0001


def test_content_of_a_volume_is_the_mean_over_its_quarter_turns():
    shape = (1, 16, 16, 16)
    volumes = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    config = replace(PAPER.config, {"average_turns": True})
    method = build_method(DualContrastMethod, config, shape, False, seed=0).eval()
    with torch.no_grad():
        content, transformation = method.encode(volumes)
        turned = method.encode(torch.rot90(volumes, 1, (2, 4)))
        assert torch.allclose(content.mean, turned.content.mean, atol=1e-5)
        # z is that of the volume as it lies.
        single = method.encoder(volumes)
        assert torch.equal(transformation.mean, single.transformation.mean)
        assert not torch.allclose(content.mean, single.content.mean, atol=1e-5)


def test_content_of_an_image_is_the_mean_over_five_turns():
    method = method_of(replace(DEFAULT.config, {"average_turns": True})).eval()
    with torch.no_grad():
        content, transformation = method.encode(images())
        single = method.encoder(images())
        turned = [
            method.encoder(rotate(images(), torch.full((len(images()),), angle))).content.mean
            for angle in (-60.0, -30.0, 30.0, 60.0)
        ]
    expected = (single.content.mean + sum(turned)) / 5
    assert torch.allclose(content.mean, expected, atol=1e-6)
    assert torch.equal(transformation.mean, single.transformation.mean)


@pytest.mark.parametrize("reader", ["difference", "upright"])
def test_the_angle_is_a_linear_function_of_z(reader):
    method = method_of(replace(DEFAULT.config, {"rotation_reader": reader}))
    if reader == "upright":
        with torch.no_grad():
            method.angle_reader.slope.fill_(0.5)
            method.angle_reader.offset.fill_(0.1)
    terms = method.losses(Batch(images()), torch_stream(0, "step"), "all")
    # The first draw of a step is that of the views.
    view = view_pair(images(), DEFAULT.config.views, torch_stream(0, "step"))[1]
    with torch.no_grad():
        z = method.encoder(torch.cat((images(), view.images))).transformation.mean
        first, second = z.chunk(2)
        weight = method.angle_reader.weight[0]
        off = ((second - first) * weight).sum(dim=1) - view.angles / 90
        expected = off.square().mean()
        if reader == "upright":
            # How far apart the doubled angles are on the circle, in radians as `off` is in right angles.
            apart = torch.polar(torch.ones_like(off), torch.pi * off) - 1
            expected = apart.abs().square().mean() / torch.pi**2
            expected += (0.5 * (second * weight).sum(dim=1) + 0.1 - view.angles / 90).square().mean()
    assert terms["rotation"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_c_of_the_view_is_compared_with_the_angle_of_the_view():
    method = method_of(DEFAULT.config)
    terms = method.losses(Batch(images()), torch_stream(0, "step"), "all")
    view = view_pair(images(), DEFAULT.config.views, torch_stream(0, "step"))[1]
    with torch.no_grad():
        codes = method.encoder(torch.cat((images(), view.images))).content.mean
        c_view = codes.chunk(2)[1]
    expected = losses.whitened_kernel_alignment(c_view, view.angles[:, None])
    assert terms["rotation_c"].item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_a_faint_trace_of_the_angle_in_c_counts(scale):
    """InfoNCE hardly minds a faint direction of c that tells the angle; a linear reader of c does."""
    generator = torch.Generator().manual_seed(0)
    angles = 180 * torch.rand(256, 1, generator=generator) - 90
    c = torch.randn(256, 10, generator=generator)
    telling = torch.cat((c[:, 1:], scale * angles / 90), dim=1)
    assert abs(losses.whitened_kernel_alignment(c, angles)) < 0.02
    assert losses.whitened_kernel_alignment(telling, angles) > 0.1


def test_rotations_of_volumes_which_do_not_add_up_are_read_from_the_pair():
    shape = (1, 16, 16, 16)
    method = build_method(DualContrastMethod, DEFAULT.config, shape, False, seed=0)
    assert method.angle_reader[0].in_features == 2 * DEFAULT.config.transformation_dim
    assert method.angle_reader[2].out_features == 3


def subtomogram_method() -> DualContrastMethod:
    config = DualContrastMethod.presets["subtomogram"].config
    method = build_method(DualContrastMethod, config, (1, 16, 16, 16), False, seed=0)
    assert isinstance(method, DualContrastMethod)
    return method


def test_content_of_a_subtomogram_does_not_know_how_it_lies():
    volumes = torch.randn(6, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    method = subtomogram_method().eval()
    with torch.no_grad():
        content, transformation = method.encode(volumes)
        turned = method.encode(torch.rot90(volumes, 1, (2, 4)))

    def moved(code: torch.Tensor, code_of_turned: torch.Tensor) -> float:
        return ((code - code_of_turned).square().mean() / code.var(dim=0).mean()).sqrt().item()

    # The soft mask is half a voxel off the middle about which views are turned.
    assert moved(content.mean, turned.content.mean) < 0.05
    assert moved(transformation.mean, turned.transformation.mean) > 0.5


def test_gradients_pass_where_something_was_encoded_before():
    """Masks, filters and matrices that encoding has made and kept are fit for training too."""
    shape = (1, 40, 40, 40)
    config = DualContrastMethod.presets["subtomogram"].config
    method = build_method(DualContrastMethod, config, shape, False, seed=0)
    volumes = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.inference_mode():
        codes = method.eval().encode(volumes)
        method.decode(codes.content.mean, codes.transformation.mean)
    volumes.requires_grad_()
    method.encode(volumes).content.mean.sum().backward()
    assert volumes.grad is not None and volumes.grad.abs().max() > 0


def test_invariants_of_untouched_volumes_are_normalised_by_their_own_mean():
    """Views have half the signal: their mean power is not that of the volumes that are encoded later."""
    volumes = torch.randn(32, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    volumes[:, :, 5:11, 5:11, 5:11] += 2.0
    method = subtomogram_method().train()
    method.losses(Batch(volumes), torch_stream(0, "step"), "all")
    encoder = method.encoder
    assert isinstance(encoder, HarmonicEncoder)
    harmonics = encoder.harmonics
    untouched = harmonics.invariants(harmonics.coefficients(as_a_view(volumes, method.config.views))).mean(0)
    # After one batch a running mean is a tenth of that batch's.
    assert encoder.normalise_untouched.running_mean is not None
    assert torch.allclose(encoder.normalise_untouched.running_mean, untouched / 10, atol=1e-3)
    views = encoder.normalise_views.running_mean
    # f_000 adds up and halves to 1 / √2, as the sum of both copies of a particle is split.
    assert views is not None
    assert (views[0] / (untouched[0] / 10)).item() == pytest.approx(math.sqrt(0.5), rel=0.1)


def test_decoded_images_leave_the_running_statistics_alone():
    """Images are encoded with the statistics of images, not with those of what the decoder drew."""
    config = replace(DEFAULT.config, {"layer_normalisation": "batch", "centre_codes": True})
    without = replace(config, {"weights.con_z_positive": 0.0, "weights.con_c_exchanged": 0.0})
    after = []
    for each in (config, without):
        method = method_of(each).train()
        method.losses(Batch(images()), torch_stream(0, "step"), "all")
        after.append({k: v for k, v in method.state_dict().items() if "running" in k})
    assert len(after[0]) > 4
    for name, value in after[0].items():
        assert torch.equal(value, after[1][name]), name


@pytest.mark.parametrize("term", ["rotation", "rotation_c"])
def test_an_angle_that_is_always_zero_cannot_be_asked_for(term):
    changes = {
        "near_views_count": 1,
        "views.max_angle": 0.0,
        "weights.rotation": 0.0,
        "weights.rotation_c": 0.0,
    }
    with pytest.raises(SettingError, match=r"views\.max_angle is 0"):
        method_of(replace(DEFAULT.config, changes | {f"weights.{term}": 1.0}))
    losses_found = method_of(replace(DEFAULT.config, changes)).losses(
        Batch(images()), torch_stream(0, "step"), "all"
    )
    assert all(value.isfinite() for value in losses_found.values())


NEAR_VIEWS = replace(DEFAULT.config, {"near_views_count": 1})


def test_views_that_are_turned_far_count_little():
    angles = torch.tensor([0.0, 45.0, -90.0, 30.0])
    # Nothing says whether images share a pose without a reader of the view alone.
    for without in ({"near_views_count": 0}, {"rotation_reader": "difference"}, {"weights.rotation": 0.0}):
        assert method_of(replace(NEAR_VIEWS, without))._counts_of_pairs(angles) is None
    counts = method_of(NEAR_VIEWS)._counts_of_pairs(angles)
    assert counts is not None
    torch.testing.assert_close(counts, torch.tensor([2.0, 1.0, 0.0, 1.5]))
    # Squared, (1 + cos u)² is 3/2 in the mean.
    squared = method_of(replace(NEAR_VIEWS, {"near_views_count": 2}))._counts_of_pairs(angles)
    assert squared is not None
    torch.testing.assert_close(squared, torch.tensor([8 / 3, 2 / 3, 0.0, 3 / 2]))


def test_all_pairs_count_alike_where_images_share_no_pose():
    angles = torch.tensor([0.0, 45.0, -90.0, 30.0])
    method = method_of(NEAR_VIEWS)
    for slope, expected in [(0.5, 4 * [1.0]), (0.7, 4 * [1.0]), (0.9, [2.0, 1.0, 0.0, 1.5])]:
        with torch.no_grad():
            method.angle_reader.slope.fill_(slope)
        torch.testing.assert_close(method._counts_of_pairs(angles), torch.tensor(expected))
    # Half-way between: √(1 + cos u), whose mean is that of √2 |cos(u / 2)|, which is √2 · 2 / π.
    with torch.no_grad():
        method.angle_reader.slope.fill_(0.8)
    expected = torch.tensor([2.0, 1.0, 0.0, 1.5]).sqrt() / (math.sqrt(2) * 2 / math.pi)
    torch.testing.assert_close(method._counts_of_pairs(angles), expected)


@pytest.mark.parametrize("power", [1, 2, 3, 5])
def test_pairs_count_one_in_the_mean_over_all_angles(power):
    counts = method_of(replace(NEAR_VIEWS, {"near_views_count": power}))._counts_of_pairs(
        torch.linspace(-90, 90, 721)[:-1]
    )
    assert counts is not None
    assert counts.mean().item() == pytest.approx(1, abs=1e-5)


def test_an_image_turned_as_far_as_views_go_has_no_part_in_the_contrast(monkeypatch):
    """All views turned by the largest angle leave nothing of InfoNCE and of the clusters."""
    method = method_of(NEAR_VIEWS)
    monkeypatch.setattr(views, "uniform", lambda shape, limit, generator: torch.full(shape, float(limit)))
    terms = method.losses(Batch(images()), torch_stream(0, "step"), "all")
    for name in ("con_c_positive", "con_c_negative"):
        assert terms[name].item() == pytest.approx(0, abs=1e-5), name
    # Every entry of the joint distribution is 1e-8 at least, so of nothing some 1e-4 are left.
    assert terms["con_c_clusters"].item() == pytest.approx(0, abs=3e-4)


@pytest.mark.parametrize("count", [4, 1])
def test_negatives_are_weighted_by_the_states_of_the_images_themselves(count):
    """Not by those of their views, whose turns have nothing to do with what c might tell."""
    config = replace(DEFAULT.config, {"like_states_count": 5.0, "near_views_count": 0})
    method = method_of(config).eval()
    terms = method.losses(Batch(images()[:count]), torch_stream(0, "step"), "all")
    first, second = view_pair(images()[:count], config.views, torch_stream(0, "step"), None)
    own, view = method.encode(first.images), method.encode(second.images)
    negatives = losses.negatives_in_like_states(own.transformation.mean, 5.0)
    expected = losses.info_nce(own.content.mean, view.content.mean, config.temperature, negatives=negatives)
    torch.testing.assert_close(terms["con_c_negative"], expected[1])
    alike = replace(config, {"like_states_count": 0.0})
    plain = method_of(alike).eval().losses(Batch(images()[:count]), torch_stream(0, "step"), "all")
    assert (plain["con_c_negative"] != terms["con_c_negative"]).item() == (count > 1)


def test_near_views_cannot_count_more_where_views_narrow():
    narrow = {"near_views_count": 3, "views.narrow_to": 30.0}
    with pytest.raises(SettingError, match="set near_views_count to 0"):
        method_of(replace(DEFAULT.config, narrow))
    # Without a reader of the view alone, near views count no more in the first place.
    for allowed in ({"near_views_count": 0}, {"rotation_reader": "pair"}):
        method_of(replace(DEFAULT.config, narrow | allowed))


def test_an_upright_pose_cannot_be_read_where_both_views_are_turned():
    both = {"views.both": True, "near_views_count": 0}
    with pytest.raises(SettingError, match=r"set views\.both to false"):
        method_of(replace(DEFAULT.config, both))
    for allowed in ({"rotation_reader": "difference"}, {"weights.rotation": 0.0}):
        method_of(replace(DEFAULT.config, both | allowed))


def test_contents_of_exchanges_need_exchanges():
    exchanged = {"weights.con_c_exchanged": 1.0}
    for preset in (PAPER, REFERENCE):
        with pytest.raises(SettingError, match="positive_z_pair is"):
            method_of(replace(preset.config, exchanged))
    # In a step of their own, they take it without the pairs of z, too.
    alone = exchanged | {"weights.con_z_positive": 0.0, "positive_z_step": "own"}
    method = method_of(replace(DEFAULT.config, alone))
    assert "con_c_exchanged" in all_terms(method, images())


def test_contrasts_of_single_numbers_are_doubted():
    """The cosine of two numbers is their sign, so the terms have no gradient."""

    def steepest(method: DualContrastMethod, term: str) -> float:
        method.zero_grad()
        method.losses(Batch(images()), torch_stream(0, "step"), "all")[term].backward()
        gradient = method.encoder.content_mean.weight.grad
        assert gradient is not None
        return gradient.abs().max().item()

    method, longer = (method_of(replace(PAPER.config, {"content_dim": length})) for length in (1, 2))
    for term in ("con_c_positive", "con_c_negative"):
        assert steepest(method, term) < 1e-3 * steepest(longer, term)
    assert [doubt[:15] for doubt in method.doubts(100, 1000)] == ["c is one number"]
    single = replace(PAPER.config, {"content_dim": 1, "transformation_dim": 1})
    assert [doubt[0] for doubt in method_of(single).doubts(100, 1000)] == ["c", "z"]
    off = {f"weights.con_{name}": 0.0 for name in ("c_positive", "c_negative")}
    assert not method_of(replace(PAPER.config, {"content_dim": 1} | off)).doubts(100, 1000)
    assert not method_of(PAPER.config).doubts(100, 1000)


def test_negatives_of_a_batch_cannot_be_weighted_where_there_are_none():
    pairs = {"content_contrast": "pair", "like_states_count": 1.0}
    with pytest.raises(SettingError, match="set like_states_count to 0"):
        method_of(replace(DEFAULT.config, pairs))
    method_of(replace(DEFAULT.config, pairs | {"like_states_count": 0.0}))


def test_the_share_of_exchanged_contents_is_as_set():
    """Each image is drawn from its own content or from that of its other view, in the share asked for."""
    config = replace(DEFAULT.config, {"exchange_share": 0.25})
    method = method_of(config)
    means = torch.arange(4000.0)[:, None].expand(-1, config.content_dim)
    content = Posterior(means, torch.full_like(means, -80.0))
    drawn = method._content_to_draw_from(content, 4000, torch_stream(0, "step"))
    exchanged = (drawn - means).abs().mean(dim=1)
    assert set(exchanged.round().tolist()) == {0.0, 2000.0}
    assert abs((exchanged > 1).float().mean().item() - 0.25) < 0.03


def test_the_first_image_alone_is_drawn_from_the_content_of_the_second():
    """`exchange_share: 1` without `reconstruct_views`: x from c of its view and z of its own."""
    config = replace(DEFAULT.config, {"reconstruct_views": False})
    method, batch = method_of(config).eval(), images()
    views = random_view(batch, config.views, torch_stream(0, "step")).images
    seen = []
    decode = method.decode
    method.decode = lambda c, z: (seen.append((c, z)), decode(c, z))[1]  # type: ignore[method-assign]
    with torch.no_grad():
        for head in (method.encoder.content_log_variance, method.encoder.transformation_log_variance):
            head.weight.zero_()
            head.bias.fill_(-40)
        method.losses(Batch(batch), torch_stream(0, "step"), "all")
        expected = method.encode(views).content.mean, method.encode(batch).transformation.mean
    for actual, wanted in zip(seen[0], expected, strict=True):
        assert torch.allclose(actual, wanted, atol=1e-4)


def test_the_smallest_batches_of_volumes_are_enough():
    """A small share of a small batch is still two images: batch normalisation takes no single one."""
    shape = (1, 16, 16, 16)
    method = build_method(
        DualContrastMethod, DualContrastMethod.presets["subtomogram"].config, shape, False, 0
    )
    for count in (2, 3, 5):
        volumes = torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))
        terms = method.losses(Batch(volumes), torch_stream(0, "step"), "all")
        assert all(torch.isfinite(value) for value in terms.values())
