"""The object that Python users hold: a method, its settings, and the preparation of its images."""

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dualcontrast import ranks, settings
from dualcontrast.codes import BOTH_CODES, Codes
from dualcontrast.data.arrays import ArraySource
from dualcontrast.data.limits import check_file
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import RunError, SettingError, UserError
from dualcontrast.files import atomic_path
from dualcontrast.memory import needing_memory, step_memory
from dualcontrast.methods.base import Method, Preset, Recipe
from dualcontrast.methods.registry import method_class
from dualcontrast.prepare import Preparation, check_choices, choose_preparation
from dualcontrast.training.batches import Batches, read_ahead
from dualcontrast.training.engine import build_method, check_devices, check_engine, lacks_bf16
from dualcontrast.training.kept_memory import memory_kept
from dualcontrast.training.loop import Checkpointing, train
from dualcontrast.training.progress import TrainingProgress, track

logger = logging.getLogger(__name__)

Images = np.ndarray | Tensor | ImageSource
# Images that are encoded or decoded at once: at most so many, and fewer where they are large volumes. More
# take longer on a CPU, whose cache does not hold what is computed from them.
MOST_AT_ONCE, MOST_ON_CPU, PIXELS_AT_ONCE = 2048, 128, 2**23
VOLUME_PRESET = "subtomogram"


class Model:
    """A method with its settings; scikit-learn users find `fit`, `transform` and `fit_transform`.

    Parameters
    ----------
    method : str
        Name of the method.
    preset : str, optional
        Named settings of the method to start from. Unless given, `default`; or `subtomogram` where the method
        has it and the images turn out to be volumes.
    seed : int
        Of initial weights, batch order, and every random draw.
    device : str
        `auto`, `cpu`, `cuda` or `mps`.
    devices : int, 'auto' or None
        Processes a node that train together, each on a GPU or on the CPU; `auto` is one for every GPU. Unless
        given, as many as torchrun or srun has started. Without those, `fit` starts this program again for
        every further device.
    nodes : int, optional
        Machines that train together.
    precision : str
        `32-true`, or `bf16-mixed` for mixed precision.
    normalisation : {'auto', 'unit', 'standardize'}
        How pixels are scaled; chosen at `fit` and applied again at `encode`.
    contrast, box, lowpass, mask_diameter : optional
        How images are prepared besides; see `choose_preparation`.
    progress : bool
        Show progress bars.
    **changes
        Settings to change, by name: those of the method (`content_dim=16`), of its recipe (`epochs=20`), or
        nested (`weights={'con_c_positive': 0}`).

    Attributes
    ----------
    config : dataclass
        The method's settings.
    recipe : Recipe
        How it is optimised.
    network : Method or None
        The trained method; None before `fit`.
    preparation : Preparation or None
        How images are prepared; None before `fit`.
    history : list of dict
        Rows of metrics of the last `fit`.

    Raises
    ------
    SettingError
        For an unknown method, preset or setting, or a value outside its range.
    """

    default_method: ClassVar[str] = "dualcontrast"

    def __init__(
        self,
        method: str | None = None,
        preset: str | None = None,
        *,
        seed: int = 0,
        device: str = "auto",
        devices: int | str | None = None,
        nodes: int | None = None,
        precision: str = "32-true",
        normalisation: str = "auto",
        contrast: str | None = None,
        box: int | None = None,
        lowpass: float | None = None,
        mask_diameter: float | None = None,
        progress: bool = True,
        **changes: Any,
    ) -> None:
        self.method = method or self.default_method
        self.method_class = method_class(self.method)
        if preset is not None and preset not in self.method_class.presets:
            raise settings.unknown_name(preset, list(self.method_class.presets), f"preset of {self.method}")
        check_engine(device, precision)
        check_devices(device, devices, nodes)
        check_choices(normalisation, contrast, box, lowpass, mask_diameter)
        self._preset_is_open, self._changes = preset is None, changes
        self._take_preset(preset or "default")
        self.seed, self.device, self.precision = seed, device, precision
        self.devices, self.nodes = devices, nodes
        self.normalisation, self.progress = normalisation, progress
        self.contrast, self.box, self.lowpass, self.mask_diameter = contrast, box, lowpass, mask_diameter
        self.network: Method | None = None
        self.preparation: Preparation | None = None
        self.history: list[dict[str, Any]] = []

    def suit(self, image_shape: tuple[int, ...], count: int) -> None:
        """Take the preset for volumes where no preset was named, and the epochs that so many images need.

        Parameters
        ----------
        image_shape : tuple of int
            `(C, H, W)` or `(C, D, H, W)`.
        count : int
            Images to train on.
        """
        if self._preset_is_open and len(image_shape) == 4 and VOLUME_PRESET in self.method_class.presets:
            self._take_preset(VOLUME_PRESET)
        self._preset_is_open = False
        self.recipe = self._recipe_for_any.for_images(count)

    def _take_preset(self, name: str) -> None:
        chosen = apply_changes(self.method_class, self.method_class.presets[name], self._changes)
        self.preset, self.config = name, chosen.config
        self.recipe = self._recipe_for_any = chosen.recipe

    def fit(
        self,
        images: Images,
        labels: object = None,
        *,
        ids: np.ndarray | None = None,
        preparation: Preparation | None = None,
        checkpointing: Checkpointing | None = None,
        report: Callable[[dict[str, Any]], None] | None = None,
    ) -> Self:
        """Train on images.

        On several devices, all processes call it with the same images, and all end with the trained weights.

        Parameters
        ----------
        images : array, tensor or ImageSource, shape (N, C, *spatial), (N, H, W) or (N, D, H, W)
            Larger than memory is fine for a source that reads from disk.
        labels : ignored
            Accepted for scikit-learn's pipelines; training uses no labels.
        ids : numpy.ndarray of str, optional
            Train on these particles only.
        preparation : Preparation, optional
            Used as it is, where it was chosen before.
        checkpointing : Checkpointing, optional
            Where to keep the state of the training.
        report : callable, optional
            Given every row of metrics as it comes, on the first rank.

        Returns
        -------
        Model
            Itself, trained.

        Raises
        ------
        DataError
            For images that cannot be used, or fewer of them than a batch.
        NotEnoughMemoryError
            When a step does not fit into the memory of the device.
        """
        from dualcontrast.training.launch import make_fabric

        source = as_source(images)
        rows = np.arange(len(source)) if ids is None else np.flatnonzero(np.isin(source.ids, ids))
        self.suit(source.image_shape, len(rows))
        self.preparation = preparation or self.choose_preparation(source)
        fabric = make_fabric(self.device, self.precision, self.devices, self.nodes)
        if self.precision == "bf16-mixed" and lacks_bf16(fabric.device) and ranks.first():
            logger.warning(
                "bf16-mixed: this CPU has no instructions for bf16, so a step takes many times as long; "
                "train in 32-true (leave --precision out)"
            )
        self.network = self.untrained_network(self.preparation)
        self.history = []
        with (
            needing_memory(*step_memory(self.recipe.batch_size, source.image_shape, fabric.device)),
            memory_kept(),
        ):
            batches = Batches(
                source, self.preparation, rows, self.recipe.batch_size, self.seed, fabric.device
            )
            with TrainingProgress(
                self.recipe.epochs * batches.per_epoch, enabled=self.progress and ranks.first()
            ) as bar:

                def receive(row: dict[str, Any]) -> None:
                    self.history.append(row)
                    bar.update(row)
                    if report and ranks.first():
                        report(row)

                train(self.network, batches, self.recipe, fabric, self.seed, checkpointing, receive)
        return self

    def untrained_network(self, preparation: Preparation) -> Method:
        """Build the networks for images that are prepared in a way, with the seed's initial weights.

        Raises
        ------
        DataError, SettingError
            When the method or its settings cannot take images of this shape.
        """
        shape, bounded = preparation.image_shape, preparation.bounded
        return build_method(self.method_class, self.config, shape, bounded, self.seed)

    def choose_preparation(self, source: ImageSource) -> Preparation:
        """Decide how the images of a source are prepared."""
        return choose_preparation(
            source,
            self.normalisation,
            self.seed,
            contrast=self.contrast,
            box=self.box,
            lowpass=self.lowpass,
            mask_diameter=self.mask_diameter,
        )

    def encode(self, images: Images) -> Codes:
        """Infer the codes of images.

        Parameters
        ----------
        images : array, tensor or ImageSource, shape (N, C, *spatial), (N, H, W) or (N, D, H, W)
            Prepared as the training images were.

        Returns
        -------
        Codes
            Posterior means and log-variances, N rows.

        Raises
        ------
        DataError
            For images of another shape, or another voxel size, than the trained ones.
        RunError
            Before `fit`.
        """
        source = as_source(images)
        self.check_source(source)
        rows = np.arange(len(source))
        batches = [rows[first : first + self.batch_rows] for first in range(0, len(rows), self.batch_rows)]
        codes = self.encode_batches(source, batches)
        return Codes.joined(list(track(codes, "encoding", self.progress, len(batches))))

    def check_source(self, source: ImageSource) -> None:
        """Raise `DataError` for images that the trained model does not take, `RunError` before `fit`."""
        _, preparation = self._trained()
        preparation.check_source(source)

    @property
    def batch_rows(self) -> int:
        """Number of images that go through the networks together."""
        network, preparation = self._trained()
        return _at_once(preparation, _device_of(network))

    def encode_batches(self, source: ImageSource, batches: Sequence[np.ndarray]) -> Iterator[Codes]:
        """Infer the codes of some images, batch by batch; the next batch is read in the meantime.

        Parameters
        ----------
        source : ImageSource
            Prepared as the training images were; see `check_source`.
        batches : sequence of numpy.ndarray of int
            Positions in the source of the images of each batch.

        Yields
        ------
        Codes
            Of one batch.
        """
        network, preparation = self._trained()
        device = _device_of(network)
        ahead = read_ahead(source, preparation, batches, device)
        with needing_memory(f"encoding {self.batch_rows} images on {device}", "encode with --device cpu"):
            for rows, images in zip(batches, ahead, strict=True):
                with torch.inference_mode():
                    encoding = network.encode(images)
                found: dict[str, np.ndarray] = {}
                for code in BOTH_CODES:
                    posterior = getattr(encoding, code)
                    found[code] = _to_numpy(posterior.mean)
                    if posterior.log_variance is not None:
                        found[f"{code}_log_variance"] = _to_numpy(posterior.log_variance)
                yield Codes(ids=source.ids[rows], **found)

    def decode(self, codes: Codes) -> np.ndarray:
        """Generate images from codes.

        Returns
        -------
        numpy.ndarray, float32, shape (N, C, *spatial)
            In prepared units: [0, 1] for `unit`, zero mean and unit deviation for `standardize`.

        Raises
        ------
        SettingError
            When the method has no decoder.
        """
        network, preparation = self._trained()
        if not network.generative:
            raise SettingError(f"{self.method} has no decoder; use a generative method")
        device = _device_of(network)
        images = []
        step = _at_once(preparation, device)
        for first in range(0, len(codes), step):
            rows = slice(first, first + step)
            with torch.inference_mode():
                images.append(
                    _to_numpy(
                        network.decode(
                            torch.as_tensor(codes.content[rows], device=device),
                            torch.as_tensor(codes.transformation[rows], device=device),
                        )
                    )
                )
        return np.concatenate(images)

    def transfer(self, content_from: Images, transformation_from: Images) -> np.ndarray:
        """Generate images with the content of some and the transformation of others (paper, section 4).

        Parameters
        ----------
        content_from, transformation_from : array, tensor or ImageSource
            The same number of images, or one of the two a single image.

        Returns
        -------
        numpy.ndarray, float32, shape (N, C, *spatial)
            As from `decode`.
        """
        content = self.encode(content_from).content
        transformation = self.encode(transformation_from).transformation
        if 1 not in (len(content), len(transformation)) and len(content) != len(transformation):
            raise SettingError(
                f"transfer needs as many images for content ({len(content)}) as for transformation "
                f"({len(transformation)}), or one of either"
            )
        count = max(len(content), len(transformation))
        return self.decode(
            Codes(
                ids=np.array([str(i) for i in range(count)]),
                content=np.broadcast_to(content, (count, content.shape[1])).copy(),
                transformation=np.broadcast_to(transformation, (count, transformation.shape[1])).copy(),
            )
        )

    def transformation_parameters(self, codes: Codes) -> dict[str, np.ndarray]:
        """Say what transformation codes mean, where the method gives them a meaning.

        Returns
        -------
        dict of str to numpy.ndarray, shape (N,) or (N, k)
            By name with its unit, for example `angle_deg` or `shift_x_px`; empty for an implicit code.

        Raises
        ------
        RunError
            Before `fit`.
        """
        network, _ = self._trained()
        transformation = torch.as_tensor(codes.transformation, device=_device_of(network))
        with torch.inference_mode():
            named = network.transformation_parameters(transformation)
        return {name: _to_numpy(values) for name, values in named.items()}

    def transform(self, images: Images) -> np.ndarray:
        """Return both codes side by side, shape (N, content_dim + transformation_dim)."""
        codes = self.encode(images)
        return np.concatenate((codes.content, codes.transformation), axis=1)

    def fit_transform(self, images: Images, labels: object = None) -> np.ndarray:
        """Train on images and return their codes side by side, as `transform`."""
        return self.fit(images, labels).transform(images)

    def save(self, path: str | Path) -> None:
        """Write weights and settings to one `.safetensors` file.

        Raises
        ------
        RunError
            Before `fit`.
        UserError
            When the file cannot be written.
        """
        network, preparation = self._trained()
        description = self.describe() | {"preparation": preparation.to_dict()}
        tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
        with atomic_path(path) as temporary:
            try:
                save_file(tensors, temporary, metadata={"dualcontrast": json.dumps(description)})
            except SafetensorError as error:
                # A full disk is one, too.
                raise OSError(str(error).splitlines()[0]) from error

    def describe(self) -> dict[str, Any]:
        """Return the resolved settings as plain values; `from_description` builds the same model."""
        return {
            "method": self.method,
            "preset": self.preset,
            "seed": self.seed,
            "precision": self.precision,
            "settings": settings.to_plain(self.config),
            "recipe": settings.to_plain(self.recipe),
        }

    @classmethod
    def from_description(
        cls,
        description: Mapping[str, Any],
        *,
        device: str = "auto",
        devices: int | str | None = None,
        nodes: int | None = None,
        progress: bool = True,
    ) -> "Model":
        """Build an untrained model from what `describe` returned, whatever the presets now say.

        Raises
        ------
        SettingError
            For settings that this version does not have.
        """
        for name, kind in (("method", str), ("preset", str), ("seed", int), ("precision", str)):
            if not isinstance(description[name], kind):
                raise SettingError(
                    f"the record of the model has no usable `{name}`; restore it or train again"
                )
        for name in ("settings", "recipe"):
            if not isinstance(description[name], Mapping):
                raise SettingError(
                    f"the record of the model has no usable `{name}`; restore it or train again"
                )
        model = cls(
            description["method"],
            description["preset"],
            seed=description["seed"],
            precision=description["precision"],
            device=device,
            devices=devices,
            nodes=nodes,
            progress=progress,
        )
        model.config = settings.from_plain(model.method_class.Config, description["settings"])
        model.recipe = model._recipe_for_any = settings.from_plain(Recipe, description["recipe"])
        return model

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto", progress: bool = True) -> "Model":
        """Read a model written by `save`, or the trained model of a run folder.

        Raises
        ------
        RunError
            When the file is missing, is not a model of this package, does not fit its own settings, or has
            weights that are no numbers.
        """
        from dualcontrast.training.launch import make_fabric

        path = Path(path)
        if path.is_dir():
            path = path / "weights.safetensors"
        if not path.exists():
            raise RunError(f"{path}: no such file; finish the training first (`train --resume`)")
        try:
            check_file(path)
            with safe_open(path, framework="pt") as stored:
                description = json.loads((stored.metadata() or {})["dualcontrast"])
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            for name, values in tensors.items():
                if not values.isfinite().all():
                    raise ValueError(f"'{name}' holds NaN or infinite weights")
            model = cls.from_description(description, device=device, progress=progress)
            model.preparation = Preparation.from_dict(description["preparation"])
            model.normalisation = model.preparation.normalisation
            # Without memory at first: a description of huge networks may stand over a few small tensors.
            with torch.device("meta"):
                expected = model.untrained_network(model.preparation).state_dict()
            for name, values in expected.items():
                if name not in tensors or values.shape != tensors[name].shape:
                    raise ValueError(f"its settings need other weights: '{name}' of {tuple(values.shape)}")
            model.network = model.untrained_network(model.preparation)
            model.network.load_state_dict(tensors)
        except (
            *(SafetensorError, UserError, OSError, KeyError, ValueError),
            *(TypeError, AttributeError, RuntimeError, RecursionError),
        ) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RunError(
                f"{path}: not a model that this version reads ({reason}); train it again"
            ) from None
        model.network.to(make_fabric(device, model.precision).device).eval()
        return model

    def _trained(self) -> tuple[Method, Preparation]:
        if self.network is None or self.preparation is None:
            raise RunError("the model is not trained yet; call fit(images) or load one")
        return self.network, self.preparation


class DualContrast(Model):
    """DualContrast (Uddin & Xu): a VAE with two codes and a contrastive loss on each; see `Model`."""


def apply_changes(method: type[Method], preset: Preset, changes: dict[str, Any]) -> Preset:
    """Give each change to the part that has a setting of its name: the method or the recipe.

    Epochs that are given are kept, however few steps they are.

    Raises
    ------
    SettingError
        For an unknown name (with the nearest valid one) or a value outside its range.
    """
    of_recipe, of_method = settings.names_of(Recipe), settings.names_of(method.Config)
    roots = {name.split(".")[0] for name in of_method}
    recipe_changes = {name: value for name, value in changes.items() if name in of_recipe}
    method_changes = {name: value for name, value in changes.items() if name not in of_recipe}
    if "epochs" in changes:
        recipe_changes = {"least_steps": 0} | recipe_changes
    for name in method_changes:
        if name.split(".")[0] not in roots:
            raise settings.unknown_name(name, of_recipe + of_method)
    return Preset(
        settings.replace(preset.config, method_changes), settings.replace(preset.recipe, recipe_changes)
    )


def as_source(images: Images) -> ImageSource:
    """Take arrays, tensors and sources alike."""
    return images if isinstance(images, ImageSource) else ArraySource(images)


def _at_once(preparation: Preparation, device: torch.device) -> int:
    """Number of images that go through the networks together."""
    most = MOST_ON_CPU if device.type == "cpu" else MOST_AT_ONCE
    return max(1, min(most, PIXELS_AT_ONCE // math.prod(preparation.image_shape)))


def _device_of(network: Method) -> torch.device:
    return next(network.parameters()).device


def _to_numpy(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()
