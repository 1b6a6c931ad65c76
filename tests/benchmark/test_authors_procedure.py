"""The transcription of the authors' procedure: its losses by hand, and against the preset `reference`."""

import math

import numpy as np
import pytest
import torch

from dualcontrast import Model
from dualcontrast.benchmark import authors_procedure as authors


def cosine(a, b):
    return abs(float(np.dot(a, b))) / math.sqrt(float(np.dot(a, a)) * float(np.dot(b, b)))


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_contrasts_are_divided_by_the_length_of_the_code():
    a, b = numbers(4, 3), numbers(4, 3, seed=1)
    cosines = [cosine(x, y) for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    assert float(authors.similarity(a, b)) == pytest.approx(np.mean(cosines) / 3, rel=1e-5)
    assert float(authors.distance(a, b)) == pytest.approx((1 - np.mean(cosines)) / 3, rel=1e-5)


def test_vae_loss_is_the_error_and_both_kl_terms():
    x, drawn = numbers(2, 1, 4, 4), numbers(2, 1, 4, 4, seed=1)
    heads = authors.Heads(*(numbers(2, 3, seed=seed) for seed in range(2, 6)))
    kl = 0.0
    for mean, log_variance in ((heads.z, heads.z_log_variance), (heads.c, heads.c_log_variance)):
        for m, s in zip(mean.flatten().tolist(), log_variance.flatten().tolist(), strict=True):
            kl += (m**2 + math.exp(s) - 1 - s) / 2
    error = sum((a - b) ** 2 for a, b in zip(x.flatten().tolist(), drawn.flatten().tolist(), strict=True))
    assert float(authors.vae_loss(drawn, x, heads)) == pytest.approx(error / 32 + 0.01 * kl / 32, rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (1, 16, 16, 16)])
def test_networks_are_those_of_reference(shape):
    """With the same weights both encode, and draw, the same."""
    # Images in [0, 1] are drawn through a sigmoid, standardised volumes are not.
    pixels = (numbers(4, *shape) if len(shape) == 4 else numbers(4, *shape).sigmoid()).numpy()
    contrast = "light" if len(shape) == 4 else None
    model = Model(preset="reference", device="cpu", progress=False, epochs=1, batch_size=4, contrast=contrast)
    ours = model.fit(pixels).network
    theirs = authors.Network(shape, 10)
    state, copied = ours.state_dict(), {}
    convolutions = [name for name in state if name.startswith("encoder.features.") and "weight" in name]
    mine = [name for name in theirs.state_dict() if "convolutions" in name and "weight" in name]
    for name, own in zip(mine, convolutions, strict=True):
        copied[name] = state[own]
        # Where there is a normalisation, ours has no bias, and theirs is subtracted again.
        bias = own.replace("weight", "bias")
        copied[name.replace("weight", "bias")] = state.get(bias, torch.ones(len(state[own])))
    heads = ("transformation_mean", "transformation_log_variance", "content_mean", "content_log_variance")
    for index, head in enumerate(heads):
        for kind in ("weight", "bias"):
            copied[f"encoder.heads.{index}.{kind}"] = state[f"encoder.{head}.{kind}"]
    layers = sorted({int(name.split(".")[2]) for name in state if name.startswith("decoder.layers.")})
    for kind in ("weight", "bias"):
        copied[f"decoder.from_c.{kind}"] = state[f"decoder.from_content.{kind}"]
        copied[f"decoder.from_z.{kind}"] = state[f"decoder.from_transformation.{kind}"]
        for index, layer in enumerate(layers):
            copied[f"decoder.layers.{index}.{kind}"] = state[f"decoder.layers.{layer}.{kind}"]
    theirs.load_state_dict(copied)
    x = torch.from_numpy(pixels)
    with torch.no_grad():
        heads, encoding = theirs.encoder(x), ours.encoder(x)
        for found, expected in (
            (heads.c, encoding.content.mean),
            (heads.z, encoding.transformation.mean),
            (heads.c_log_variance, encoding.content.log_variance),
            (heads.z_log_variance, encoding.transformation.log_variance),
            (theirs.decoder(heads.z, heads.c), ours.decode(heads.c, heads.z)),
        ):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_rotations_keep_the_middle_and_turn_volumes_one_by_one():
    torch.manual_seed(0)
    images = torch.zeros(3, 1, 17, 17)
    images[:, :, 8, 12] = 1
    turned = authors.rotated(images)
    # One angle a batch; nearest neighbour invents no grey values.
    assert (turned == turned[:1]).all() and set(turned.unique().tolist()) <= {0.0, 1.0}
    volumes = torch.zeros(3, 1, 17, 17, 17)
    volumes[:, :, 8, 8, 8] = 1
    assert authors.rotated(volumes)[:, 0, 8, 8, 8].tolist() == pytest.approx([1, 1, 1], abs=1e-4)
    volumes[:, :, 6:11, 8, 12] = 1
    turned = authors.rotated(volumes)
    assert not torch.allclose(turned[0], turned[1])


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 16, 16, 16)])
def test_training_lowers_the_error_and_encodes_whole_batches(shape):
    torch.manual_seed(0)
    pixels = np.repeat(np.linspace(0.1, 0.9, 16), 16).reshape(1, 1, 16, 16).astype(np.float32)
    pixels = np.broadcast_to(pixels.reshape(1, 1, *(1,) * (len(shape) - 3), 16, 16), (17, *shape)).copy()
    network = authors.Network(shape, 4)
    x = torch.from_numpy(pixels)

    def error():
        with torch.no_grad():
            return float((network(x)[0] - x).square().mean())

    before = error()
    speeds = authors.train(network, pixels, 8, 4, torch.device("cpu"))
    assert len(speeds) == 4 and min(speeds) > 0
    assert error() < before
    content, transformation = authors.encode(network, pixels, 8, torch.device("cpu"))
    assert content.shape == transformation.shape == (16, 4)
