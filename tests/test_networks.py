"""Networks take every image shape that they say they take."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualcontrast.errors import DataError
from dualcontrast.networks import (
    ConvolutionalDecoder,
    FullyConnectedDecoder,
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
