"""Networks take every image shape that they say they take."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import nn

from dualcontrast.errors import DataError
from dualcontrast.networks import (
    ChannelsLastConv2d,
    ChannelsLastConv3d,
    ConvolutionalDecoder,
    FullyConnectedDecoder,
    InstanceNorm,
    TwoCodeEncoder,
    WholeConvolution3d,
    check_image_shape,
    feature_count,
    paper_encoder,
)


def channels(encoder: torch.nn.Module) -> list[int]:
    return [m.out_channels for m in encoder.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Conv3d)]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        # The authors' networks for MNIST, LineMod and subtomograms.
        ((1, 28, 28), [16, 32, 64]),
        ((3, 64, 64), [16, 32, 64, 128]),
        ((1, 32, 32, 32), [32, 64, 128, 512, 1024]),
    ],
)
def test_channels_of_the_authors_networks(shape, expected):
    assert channels(paper_encoder(shape, "none")) == expected


@given(st.lists(st.integers(16, 70), min_size=2, max_size=2), st.sampled_from([1, 3]), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_any_two_dimensional_shape(spatial, colours, count):
    shape = (colours, *spatial)
    encoder = paper_encoder(shape, "instance")
    features = encoder(torch.rand(count, *shape))
    assert features.shape == (count, feature_count(encoder, shape))
    decoder = FullyConnectedDecoder(3, 2, shape, bounded=True)
    images = decoder(torch.randn(count, 3), torch.randn(count, 2))
    assert images.shape == (count, *shape)
    assert images.min() >= 0 and images.max() <= 1


@given(st.lists(st.integers(16, 36), min_size=3, max_size=3))
@settings(max_examples=5, deadline=None)
def test_any_three_dimensional_shape(spatial):
    shape = (1, *spatial)
    encoder = paper_encoder(shape, "none")
    assert encoder(torch.rand(2, *shape)).shape == (2, feature_count(encoder, shape))


@given(st.lists(st.integers(16, 70), min_size=2, max_size=3), st.sampled_from([1, 3]))
@settings(max_examples=15, deadline=None)
def test_the_convolutional_decoder_draws_any_shape(spatial, colours):
    if len(spatial) == 3:
        spatial = [16 + length % 20 for length in spatial]
    shape = (colours, *spatial)
    images = ConvolutionalDecoder(3, 2, shape, bounded=True)(torch.randn(2, 3), torch.randn(2, 2))
    assert images.shape == (2, *shape)
    assert images.min() >= 0 and images.max() <= 1


def test_the_convolutional_decoder_is_small():
    """Its docstring says 1/33 of the weights of the paper's at 32³."""
    sizes = [
        sum(parameter.numel() for parameter in decoder(50, 50, (1, 32, 32, 32), False).parameters())
        for decoder in (FullyConnectedDecoder, ConvolutionalDecoder)
    ]
    assert sizes[0] / sizes[1] > 30


def test_standardised_images_are_not_bounded():
    decoder = FullyConnectedDecoder(2, 2, (1, 16, 16), bounded=False)
    images = decoder(100 * torch.randn(20, 2), 100 * torch.randn(20, 2))
    assert images.min() < 0 or images.max() > 1


@pytest.mark.parametrize("shape", [(1, 15, 28), (1, 8, 8, 8), (1, 28)])
def test_shapes_that_are_refused(shape):
    with pytest.raises(DataError):
        check_image_shape(shape)


@pytest.mark.parametrize(
    ("fast", "plain", "shape", "options"),
    [
        (ChannelsLastConv2d, nn.Conv2d, (1, 9, 10), {"kernel_size": 5, "stride": 2, "padding": 1}),
        (ChannelsLastConv3d, nn.Conv3d, (2, 8, 6, 7), {"kernel_size": 4, "stride": 2, "padding": 1}),
        (WholeConvolution3d, nn.Conv3d, (3, 4, 4, 4), {"kernel_size": 4}),
    ],
)
def test_faster_layers_compute_what_torch_computes(fast, plain, shape, options):
    torch.manual_seed(0)
    layer, reference = (kind(shape[0], 6, **options).double() for kind in (fast, plain))
    layer.load_state_dict(reference.state_dict())
    images = torch.randn(5, *shape, dtype=torch.float64)
    outputs = []
    for convolution in (layer, reference):
        given = images.clone().requires_grad_()
        found = convolution(given)
        found.square().sum().backward()
        outputs.append([found, given.grad, convolution.weight.grad, convolution.bias.grad])
    for found, expected in zip(*outputs, strict=True):
        torch.testing.assert_close(found, expected)


def test_instance_normalisation_is_that_of_torch():
    images = torch.randn(5, 3, 6, 4).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(InstanceNorm()(images), nn.InstanceNorm2d(3)(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layers", ["paper", "batch"])
def test_heads_in_one_product_give_what_each_gives(layers):
    torch.manual_seed(0)
    encoder = TwoCodeEncoder(5, 3, (1, 16, 16), layers).double().eval()
    images = torch.rand(4, 1, 16, 16, dtype=torch.float64)
    (content, content_spread), (transformation, transformation_spread) = encoder(images)
    features = encoder.features(images)
    for found, head in (
        (content, encoder.content_mean),
        (content_spread, encoder.content_log_variance),
        (transformation, encoder.transformation_mean),
        (transformation_spread, encoder.transformation_log_variance),
    ):
        assert_allclose(found.detach(), head(features).detach(), atol=1e-12)
