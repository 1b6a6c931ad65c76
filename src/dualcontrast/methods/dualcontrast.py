"""DualContrast (Uddin & Xu), section 3 of the paper, and what `default` adds to it."""

import math
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from dualcontrast import losses
from dualcontrast.angle_readers import AngleReader, RotationReader, UprightReader, build_angle_reader
from dualcontrast.ball_harmonics import BallHarmonics
from dualcontrast.errors import SettingError
from dualcontrast.harmonic_networks import HarmonicDecoder, HarmonicEncoder
from dualcontrast.methods.base import (
    ENOUGH_STEPS,
    Batch,
    CodeSize,
    Encoding,
    Method,
    Phase,
    Posterior,
    Preset,
    Recipe,
    Weight,
    doubt_of_cosines,
)
from dualcontrast.networks import (
    ConvolutionalDecoder,
    FullyConnectedDecoder,
    TwoCodeEncoder,
    running_statistics_kept,
)
from dualcontrast.views import (
    ViewConfig,
    as_a_view,
    quarter_turns,
    turns_within,
    view_pair,
)
from dualcontrast.wedge import apply_wedge

# Images a batch needs for each number of a code whose dependence on the other is a term of the loss: with
# three, one number in common stands out by 2.5 to 3 standard deviations of the term.
IMAGES_PER_NUMBER = 3


@dataclass(frozen=True)
class Weights:
    """Weight of every term of the loss; a term of weight 0 is not computed.

    The ablations of the paper's Table 1 set `con_c_positive` and `con_c_negative` to 0 (preset
    `without_con_c`), or `con_z_positive` and `con_z_negative` (preset `without_con_z`).
    """

    reconstruction: Weight = 1.0
    kl_content: Weight = 0.01
    kl_transformation: Weight = 0.01
    con_c_positive: Weight = 1.0
    con_c_negative: Weight = 1.0
    con_z_positive: Weight = 1.0
    con_z_negative: Weight = 1.0
    con_c_exchanged: Weight = 0.0
    con_c_clusters: Weight = 0.0
    independence: Weight = 0.0
    independence_products: Weight = 0.0
    independence_c: Weight = 0.0
    rotation: Weight = 0.0
    rotation_c: Weight = 0.0


@dataclass(frozen=True)
class DualContrastConfig:
    """Settings of DualContrast; the field defaults are those of the `paper` preset.

    Attributes
    ----------
    content_dim, transformation_dim : int
        Lengths of the codes c and z.
    views : ViewConfig
        What separates an image from its second view.
    weights : Weights
        Of the terms of the loss. Beside the paper's: `con_c_exchanged`, the content of decoded exchanges;
        `con_c_clusters`, minus the mutual information of the clusters that an image and its view fall into;
        `independence` and `independence_c`, the kernel alignment of c and z, of which the first moves z away
        from what c knows, and the second c from what z knows; `independence_products`, as `independence`,
        of what products of two numbers of z tell of c; `rotation`, the error of predicting the known angle
        between an image and its view from their two z; `rotation_c`, the kernel alignment of c of a view
        with that angle, which c is not to tell.
    width : int
        Multiplies the channels of the paper's encoder.
    layer_normalisation : {'paper', 'batch'}
        `paper`: instance normalisation in 2-D, none in 3-D. `batch`: batch normalisation in the encoder, and
        hidden heads.
    centre_codes : bool
        Centre both codes over the batch and scale them to unit variance. Without it all codes start nearly
        parallel, where |cos| has no gradient.
    encoder : {'paper', 'harmonic'}
        `paper`: convolutions. `harmonic`: c of a volume is read from numbers that no rotation changes, and z
        from ball harmonics; see `dualcontrast.harmonic_networks`. The settings `width`,
        `layer_normalisation` and `centre_codes` are about `paper`; `harmonic` centres its codes.
    decoder : {'paper', 'convolutional', 'harmonic'}
        `paper`: fully connected. `convolutional`: a coarse grid that is doubled, with a fraction of the
        weights. `harmonic`: fully connected layers to the coefficients of ball harmonics of a volume, which
        then are what the reconstruction compares.
    wedge_aware : bool
        Give turned subtomograms their own missing wedge again, and reconstruct only what was measured, where
        the wedges are known.
    cluster_heads : tuple of int
        Numbers of clusters for `con_c_clusters`: each is a linear layer on c with so many outputs. They need
        not be the number of identities; more find finer groups.
    average_turns : bool
        The content code is the mean of those of turned copies, once the training is done: of the 24 quarter
        turns of a volume; of five turns of an image, see `views.turns_within`.
    rotation_reader : {'pair', 'difference', 'upright'}
        What the angle between an image and its view is predicted from: `pair`, from both z by a network;
        `difference`, from their difference by a linear map, so that z itself becomes linear in the angle;
        `upright`, from their difference up to half turns, and from the z of the view alone, so that the
        angle counts from the pose that most images share. Rotations of volumes do not add up; they are
        predicted from the pair always.
    reconstruct_views : bool
        Reconstruct the rotated copy too.
    exchange_share : float
        Share of the images that are reconstructed from the content of their other view instead of their own,
        drawn anew in each step.
    content_contrast : {'pair', 'batch'}
        `pair`: equation 3. `batch`: every other image of the batch is a negative (InfoNCE).
    temperature : float
        Of the `batch` contrast.
    near_views_count : int
        In the `batch` contrast and the clusters, an image and its view at an angle of α count as the n-th
        power of 1 + cos(π α / max_angle), over its mean: most where α is 0, not at all where it is the
        largest. 0: all alike. Only with `rotation_reader='upright'`, and as far as that reader finds that
        images share an upright pose (`UprightReader.shared_pose`): in others, c would come to tell the angle.
    like_states_count : float
        In the `batch` contrast, other images count the more as negatives the more their z is like the image's
        own: as e to the power of minus so many times their squared distance, over the mean of that in the
        batch. 0: all alike. c then gains little by telling the state, which its negatives share.
    positive_z_pair : {'two_draws', 'one_draw', 'exchange'}
        What is decoded for the positive pairs of z. `two_draws` from N(0, I), one for each image of the
        pair (the text); `one_draw` for both (the authors' code); `exchange`: the content of one image with
        the z of another, whose own z is the partner.
    positive_z_trains : {'all', 'encoder'}
        `encoder`: the decoded pairs are taken as given, so only the encoder learns from them.
    positive_z_step : {'same', 'own'}
        `own`: a second optimiser step with its own Adam, after that of all other terms (the authors' code).
    positive_z_share : float
        Fraction of the batch for which positive pairs of z are decoded.
    divide_by_code_size : bool
        Divide the contrastive terms by the length of the code (the authors' code).
    """

    content_dim: CodeSize = 10
    transformation_dim: CodeSize = 10
    views: ViewConfig = field(default_factory=ViewConfig)
    weights: Weights = field(default_factory=Weights)
    width: Annotated[int, Field(ge=1, le=16)] = 1
    layer_normalisation: Literal["paper", "batch"] = "paper"
    centre_codes: bool = False
    encoder: Literal["paper", "harmonic"] = "paper"
    decoder: Literal["paper", "convolutional", "harmonic"] = "paper"
    wedge_aware: bool = True
    cluster_heads: Annotated[tuple[Annotated[int, Field(ge=2, le=1000)], ...], Field(min_length=1)] = (6, 12)
    average_turns: bool = False
    rotation_reader: RotationReader = "pair"
    reconstruct_views: bool = False
    exchange_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    content_contrast: Literal["pair", "batch"] = "pair"
    temperature: Annotated[float, Field(gt=0)] = 0.2
    near_views_count: Annotated[int, Field(ge=0, le=10)] = 0
    like_states_count: Annotated[float, Field(ge=0, le=100)] = 0.0
    positive_z_pair: Literal["two_draws", "one_draw", "exchange"] = "two_draws"
    positive_z_trains: Literal["all", "encoder"] = "all"
    positive_z_step: Literal["same", "own"] = "same"
    positive_z_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    divide_by_code_size: bool = False


PAPER = Preset(DualContrastConfig(), Recipe(epochs=200, batch_size=100, learning_rate=1e-4))

REFERENCE = Preset(
    DualContrastConfig(
        views=ViewConfig(one_angle_per_batch=True, interpolation="nearest"),
        reconstruct_views=True,
        positive_z_pair="one_draw",
        positive_z_trains="encoder",
        positive_z_step="own",
        divide_by_code_size=True,
    ),
    Recipe(epochs=100, batch_size=100, learning_rate=1e-4, schedule="step", decay=0.1, decay_epochs=50),
)

WITHOUT_CON_C = Preset(
    replace(REFERENCE.config, weights=Weights(con_c_positive=0.0, con_c_negative=0.0)), REFERENCE.recipe
)

WITHOUT_CON_Z = Preset(
    replace(REFERENCE.config, weights=Weights(con_z_positive=0.0, con_z_negative=0.0)), REFERENCE.recipe
)

DEFAULT = Preset(
    DualContrastConfig(
        views=ViewConfig(scale=0.25, shear=0.3, shift=0.03, elastic=0.03, elastic_nodes=5),
        weights=Weights(
            reconstruction=5.0,
            kl_content=0.05,
            kl_transformation=0.05,
            con_c_positive=0.5,
            con_c_negative=0.5,
            con_z_positive=1.0,
            con_z_negative=0.3,
            con_c_exchanged=0.75,
            con_c_clusters=0.5,
            independence=2.0,
            rotation=2.0,
            rotation_c=1.0,
        ),
        width=2,
        cluster_heads=(10, 20, 50),
        rotation_reader="upright",
        near_views_count=3,
        reconstruct_views=True,
        exchange_share=1.0,
        content_contrast="batch",
        positive_z_pair="exchange",
        positive_z_trains="encoder",
        positive_z_share=0.5,
    ),
    Recipe(epochs=30, least_steps=ENOUGH_STEPS, batch_size=256, learning_rate=2e-3, schedule="one_cycle"),
)

# For trainings of few epochs: steps of fewer images are cheaper, if not as good as more epochs.
SHORT = Preset(DEFAULT.config, replace(DEFAULT.recipe, epochs=15, batch_size=64, learning_rate=1e-3))

SUBTOMOGRAM = Preset(
    DualContrastConfig(
        views=ViewConfig(
            max_angle=180.0, rotations="uniform", both=True, split_noise=True, mask=0.85, shift=0.05
        ),
        weights=Weights(
            reconstruction=5.0,
            kl_content=0.05,
            kl_transformation=0.05,
            con_c_positive=0.5,
            con_c_negative=0.5,
            con_z_positive=1.0,
            con_z_negative=0.3,
            con_c_exchanged=0.3,
            con_c_clusters=2.0,
            independence=2.0,
        ),
        encoder="harmonic",
        decoder="harmonic",
        exchange_share=1.0,
        content_contrast="batch",
        temperature=0.5,
        positive_z_pair="exchange",
        positive_z_trains="encoder",
        positive_z_share=0.25,
    ),
    Recipe(epochs=40, batch_size=64, learning_rate=2e-3, schedule="one_cycle"),
)


class DualContrastMethod(Method):
    """A VAE with two codes and one contrastive loss for each (paper, section 3)."""

    name = "dualcontrast"
    Config = DualContrastConfig
    presets = {  # noqa: RUF012
        "default": DEFAULT,
        "short": SHORT,
        "subtomogram": SUBTOMOGRAM,
        "paper": PAPER,
        "reference": REFERENCE,
        "without_con_c": WITHOUT_CON_C,
        "without_con_z": WITHOUT_CON_Z,
    }

    search = {"weights.independence": (1.0, 2.0, 4.0), "exchange_share": (0.4, 1.0)}  # noqa: RUF012

    config: DualContrastConfig

    def __init__(self, config: DualContrastConfig, image_shape: tuple[int, ...], bounded: bool) -> None:
        super().__init__(config, image_shape, bounded)
        self.config, self.image_shape = config, tuple(image_shape)
        if config.views.max_angle == 0 and (config.weights.rotation or config.weights.rotation_c):
            raise SettingError(
                "views.max_angle is 0, so there is no angle that codes could tell; "
                "set weights.rotation and weights.rotation_c to 0 as well"
            )
        if config.like_states_count and config.content_contrast == "pair":
            raise SettingError(
                "like_states_count weights the negatives of a batch, and content_contrast is 'pair', which "
                "has one for each image; set like_states_count to 0, or content_contrast to 'batch'"
            )
        if config.weights.con_c_exchanged and config.positive_z_pair != "exchange":
            raise SettingError(
                "weights.con_c_exchanged is about decoded exchanges, and positive_z_pair is "
                f"'{config.positive_z_pair}'; set it to 'exchange', or weights.con_c_exchanged to 0"
            )
        reads_upright = config.weights.rotation and config.rotation_reader == "upright"
        if reads_upright and config.views.both and len(image_shape) == 3:
            raise SettingError(
                "rotation_reader 'upright' reads how far a view is turned from its image, and views.both "
                "turns both; set views.both to false, or rotation_reader to 'pair' or 'difference'"
            )
        is_counted = config.near_views_count and config.rotation_reader == "upright"
        if is_counted and config.views.narrow_to is not None:
            raise SettingError(
                "near_views_count weights views by how near they are to views.max_angle, and views.narrow_to "
                "draws nearer ones; set near_views_count to 0, or leave views.narrow_to out"
            )
        sizes = (config.content_dim, config.transformation_dim)

        @cache
        def harmonics() -> BallHarmonics:
            # One for both networks: the arrays are large.
            return BallHarmonics(self.image_shape, config.views.mask or 1.0)

        if config.encoder == "harmonic":
            self.encoder: nn.Module = HarmonicEncoder(*sizes, harmonics())
        else:
            self.encoder = TwoCodeEncoder(
                *sizes, self.image_shape, config.layer_normalisation, config.width, config.centre_codes
            )
        if config.decoder == "harmonic":
            self.decoder: nn.Module = HarmonicDecoder(*sizes, harmonics())
        elif config.decoder == "convolutional":
            self.decoder = ConvolutionalDecoder(*sizes, self.image_shape, bounded)
        else:
            self.decoder = FullyConnectedDecoder(*sizes, self.image_shape, bounded)
        self.angle_reader: AngleReader | None = None
        if config.weights.rotation:
            self.angle_reader = build_angle_reader(
                config.rotation_reader,
                config.transformation_dim,
                len(self.image_shape) - 1,
                config.views.max_angle,
            )
        self.clusters: nn.ModuleList | None = None
        if config.weights.con_c_clusters:
            self.clusters = nn.ModuleList(
                nn.Linear(config.content_dim, count) for count in config.cluster_heads
            )
        self._codes_of_batch: tuple[Tensor, Tensor] | None = None

    def encode(self, images: Tensor) -> Encoding:
        """Infer both posteriors of a batch (N, C, *spatial)."""
        encoding = self._encode_untouched(images)
        if not self.config.average_turns or (images.ndim == 5 and len(set(images.shape[2:])) > 1):
            return encoding
        turned = quarter_turns(images) if images.ndim == 5 else turns_within(images, self.config.views)
        turns = [self._encode_untouched(copies).content for copies in turned]
        mean = torch.stack([turn.mean for turn in turns]).mean(dim=0)
        return Encoding(encoding.content._replace(mean=mean), encoding.transformation)

    def _encode_untouched(self, images: Tensor) -> Encoding:
        images = as_a_view(images, self.config.views)
        if isinstance(self.encoder, HarmonicEncoder):
            return self.encoder(images, untouched=True)
        return self.encoder(images)

    def decode(self, content: Tensor, transformation: Tensor) -> Tensor:
        """Generate images (N, C, *spatial) from codes (N, content_dim) and (N, transformation_dim)."""
        return self.decoder(content, transformation)

    def doubts(self, batch_size: int, images: int) -> list[str]:
        """Say so where a term sees nothing.

        That is where codes that are compared by their cosine have one number, and where a whitened code is
        nearly as long as the batch: all lie equally far apart then.
        """
        weights, longest = self.config.weights, 0
        said = []
        for letter, length, compared in (
            ("c", self.config.content_dim, weights.con_c_positive or weights.con_c_negative),
            ("z", self.config.transformation_dim, weights.con_z_positive or weights.con_z_negative),
        ):
            if compared and length == 1:
                said.append(doubt_of_cosines(letter))
        if weights.independence or weights.independence_products:
            longest = self.config.transformation_dim
        if weights.independence_c:
            longest = max(self.config.transformation_dim, self.config.content_dim)
        enough, short = IMAGES_PER_NUMBER * longest, batch_size // IMAGES_PER_NUMBER
        if batch_size >= enough:
            return said
        remedies = [f"--batch-size {enough} or more"] * (enough <= images)
        remedies += [f"codes of at most {short}"] * (short > 0)
        return [
            *said,
            f"in batches of {batch_size} images, a code of {longest} numbers hardly shows whether it depends "
            "on the other, so z may come to tell the content; "
            f"{', or '.join(remedies) or 'more images'} would show it",
        ]

    def phases(self) -> list[Phase]:
        """One step over all weights; with `positive_z_step='own'` a second one for the pairs of z."""
        phases, weights = [Phase("all", list(self.parameters()))], self.config.weights
        if self.config.positive_z_step == "own" and (weights.con_z_positive or weights.con_c_exchanged):
            trained = self.encoder if self.config.positive_z_trains == "encoder" else self
            phases.append(Phase("positive_z", list(trained.parameters())))
        return phases

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weights as set; the authors' code divides the contrastive ones by the code's length."""
        weights = asdict(self.config.weights)
        if self.config.divide_by_code_size:
            for name in weights:
                if name.startswith("con_c"):
                    weights[name] /= self.config.content_dim
                if name.startswith("con_z"):
                    weights[name] /= self.config.transformation_dim
        return weights

    def losses(self, batch: Batch, generator: torch.Generator, phase: str) -> dict[str, Tensor]:
        """Compute the terms of equations 2 to 4; see the base class for the parameters."""
        if phase == "positive_z":
            assert self._codes_of_batch is not None, "the phase 'all' comes first"
            return self._decoded_pairs(*self._codes_of_batch, generator)

        weights, count = self.config.weights, len(batch.images)
        wedges = batch.wedges if self.config.wedge_aware else None
        first, second = view_pair(batch.images, self.config.views, generator, wedges, batch.progress)
        both = torch.cat((first.images, second.images))
        measured = None
        if first.wedges is not None and second.wedges is not None:
            measured = torch.cat((first.wedges, second.wedges))
        encoding = self.encoder(both)
        if isinstance(self.encoder, HarmonicEncoder):
            self.encoder.observe_untouched(as_a_view(batch.images, self.config.views))
        c, c_view = encoding.content.mean.split(count)
        z, z_view = encoding.transformation.mean.split(count)
        terms = self._variational_terms(both, measured, encoding, generator)

        counts = self._counts_of_pairs(second.angles)
        if weights.con_c_positive or weights.con_c_negative:
            if self.config.content_contrast == "batch":
                negatives = None
                if self.config.like_states_count:
                    negatives = losses.negatives_in_like_states(z, self.config.like_states_count)
                positive, negative = losses.info_nce(c, c_view, self.config.temperature, counts, negatives)
            else:
                positive = losses.cosine_distance(c, c_view)
                # The codes of the negatives are known: they are other rows of c.
                negative = losses.cosine_similarity(c, c[losses.derangement(count, generator)])
            terms |= {"con_c_positive": positive, "con_c_negative": negative}
        if self.clusters is not None:
            information = [losses.mutual_information(head(c), head(c_view), counts) for head in self.clusters]
            terms["con_c_clusters"] = -torch.stack(information).mean()
        if weights.con_z_negative:
            terms["con_z_negative"] = losses.cosine_similarity(z, z_view)
        if weights.con_z_positive or weights.con_c_exchanged:
            if self.config.positive_z_step == "own":
                self._codes_of_batch = c.detach(), z.detach()
            else:
                terms |= self._decoded_pairs(c, z, generator)
        if weights.independence:
            terms["independence"] = losses.kernel_alignment(c.detach(), z)
        if weights.independence_products:
            terms["independence_products"] = losses.product_alignment(c.detach(), z)
        if weights.independence_c:
            terms["independence_c"] = losses.whitened_kernel_alignment(c, z.detach())
        if weights.rotation_c:
            angles = second.angles.reshape(count, -1)
            terms["rotation_c"] = losses.whitened_kernel_alignment(c_view, angles)
        if self.angle_reader is not None:
            known = second.angles.reshape(count, -1) / self.config.views.max_angle
            terms["rotation"] = self.angle_reader.error(z, z_view, known)
        return terms

    def _counts_of_pairs(self, angles: Tensor) -> Tensor | None:
        """How much each image and its view count in the contrast of c; see `near_views_count`."""
        most, reader = self.config.near_views_count, self.angle_reader
        if not most or not isinstance(reader, UprightReader):
            return None
        power = most * reader.shared_pose
        # The mean of (1 + cos u)ⁿ over all u is 2ⁿ Γ(n + ½) / (√π Γ(n + 1)).
        mean = torch.exp(
            power * math.log(2)
            + torch.lgamma(power + 0.5)
            - torch.lgamma(power + 1)
            - 0.5 * math.log(math.pi)
        )
        return (1 + torch.cos(angles * (math.pi / self.config.views.max_angle))) ** power / mean

    def _variational_terms(
        self, both: Tensor, measured: Tensor | None, encoding: Encoding, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Equation 2: reconstruction and the two KL terms, each a mean over images and pixels (coefficients).

        Where it is known which Fourier components were measured, only those are compared: the decoder may
        draw whole particles.
        """
        drawn = len(both) if self.config.reconstruct_views else len(both) // 2
        c = self._content_to_draw_from(encoding.content, drawn, generator)
        both, encoding = both[:drawn], Encoding(*(code.first(drawn) for code in encoding))
        z = encoding.transformation.sample(generator)
        # The authors add the losses of the image and of its view, where a mean over both halves them.
        passes = 2 if self.config.reconstruct_views and not self.config.exchange_share else 1
        error = self.decode(c, z) - both
        if measured is not None:
            error = apply_wedge(error, measured[: len(error)])
        if isinstance(self.decoder, HarmonicDecoder):
            # What is outside the ball, or finer than the waves, cannot be drawn: it is noise to the decoder.
            error = self.decoder.harmonics.coefficients(error)
        pixels = error[0].numel()
        return {
            "reconstruction": passes * error.square().mean(),
            "kl_content": passes * losses.kl_to_standard_normal(encoding.content) / pixels,
            "kl_transformation": passes * losses.kl_to_standard_normal(encoding.transformation) / pixels,
        }

    def _content_to_draw_from(self, content: Posterior, drawn: int, generator: torch.Generator) -> Tensor:
        """Sample the contents that the first `drawn` images are reconstructed from; see `exchange_share`."""
        share = self.config.exchange_share
        if share == 0:
            return content.first(drawn).sample(generator)
        own = content.sample(generator)
        others = own.roll(len(own) // 2, dims=0)[:drawn]
        if share == 1:
            return others
        exchanged = torch.rand((drawn, 1), generator=generator, device=own.device) < share
        return torch.where(exchanged, others, own[:drawn])

    def _decoded_pairs(self, c: Tensor, z: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """L_dist of positive pairs w.r.t. transformation, which only the decoder can make (section 3.5)."""
        partners = losses.derangement(len(c), generator)
        # Batch normalisation needs two images.
        count = min(len(c), max(2, round(len(c) * self.config.positive_z_share)))
        if self.config.positive_z_pair == "exchange":
            kept, moved = c[:count].detach(), z[partners[:count]].detach()
            encoding = self._encode_decoded(self._decode_pairs(kept, moved))
            return {
                "con_z_positive": losses.signed_cosine_distance(encoding.transformation.mean, moved),
                "con_c_exchanged": losses.signed_cosine_distance(encoding.content.mean, kept),
            }
        shape = (count, self.config.transformation_dim)
        first = torch.randn(shape, generator=generator, device=c.device)
        second = first
        if self.config.positive_z_pair == "two_draws":
            second = torch.randn(shape, generator=generator, device=c.device)
        decoded = self._decode_pairs(torch.cat((c[:count], c[partners[:count]])), torch.cat((first, second)))
        z_first, z_second = self._encode_decoded(decoded).transformation.mean.split(count)
        return {"con_z_positive": losses.cosine_distance(z_first, z_second)}

    def _encode_decoded(self, decoded: Tensor) -> Encoding:
        with running_statistics_kept(self.encoder):
            return self.encoder(decoded)

    def _decode_pairs(self, content: Tensor, transformation: Tensor) -> Tensor:
        if self.config.positive_z_trains == "all":
            return self.decode(content, transformation)
        with torch.no_grad():
            return self.decode(content, transformation)
