"""One step of a training: terms, gradients and Adam, for every phase of a method."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dualcontrast import ranks
from dualcontrast.losses import at_least_float32
from dualcontrast.methods.base import Batch, Method, Recipe
from dualcontrast.random_streams import stream_seed
from dualcontrast.training.recording import Recorder
from dualcontrast.training.schedule import learning_rate

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@contextmanager
def _same_bits_each_time() -> Iterator[None]:
    """Leave out those ways to compute the gradient of a convolution in which cuDNN adds up in any order."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


class Steps:
    """Takes the steps of a training, and adds up the values of the terms until they are asked for.

    Parameters
    ----------
    method : Method
        Trained in place; moved to the device.
    recipe : Recipe
        Learning rate and schedule.
    fabric : lightning_fabric.Fabric
        Device and precision.
    seed : int
        Of the run.
    per_epoch : int
        Steps in an epoch.
    """

    def __init__(self, method: Method, recipe: Recipe, fabric: "Fabric", seed: int, per_epoch: int) -> None:
        # A fused Adam keeps its counters where the weights are, so they go to the device first.
        method.to(fabric.device)
        self._method, self._recipe, self._fabric, self._seed = method, recipe, fabric, seed
        self._per_epoch, self._total = per_epoch, recipe.epochs * per_epoch
        self._phases = method.phases()
        # Fused: the decoder of volumes has 180 million weights, and one pass over them is enough.
        settings: dict[str, Any] = {
            "lr": recipe.learning_rate,
            "betas": (0.9, recipe.adam_beta2),
            "fused": True,
        }
        adams = [torch.optim.Adam(phase.parameters, **settings) for phase in self._phases]
        self._model, *self._optimisers = fabric.setup(method, *adams)
        self._model.mark_forward_method("losses")
        self._model.train()
        self._generator = torch.Generator(fabric.device)
        self._on_gpu = fabric.device.type == "cuda"
        self._rates: list[Any] = []
        self._weights: dict[str, Tensor] = {}
        self._numbers: Tensor | None = None
        self._terms: list[str] = []
        self._sums: Tensor | None = None
        self._count = 0
        self._carried: dict[str, Tensor] = {}
        # Messages between ranks are not recorded.
        recorded = self._on_gpu and ranks.world_size() == 1
        self._recorder = Recorder(self._generator) if recorded else None

    def take(self, batch: Batch, step: int) -> None:
        """Take one step, counted from 0 over the whole run; its random draws depend on it and the seed."""
        self._generator.manual_seed(stream_seed(self._seed, "step", step))
        rate = learning_rate(self._recipe, step, self._per_epoch)
        self._tell([phase.learning_rate_scale * rate for phase in self._phases], self.weights(step))
        progress = torch.full((), step / self._total, device=self._fabric.device)
        batch = batch._replace(progress=progress)
        if self._recorder:
            self._recorder.run(self._compute, batch)
        else:
            self._compute(batch)
        self._count += 1

    def weights(self, step: int) -> dict[str, float]:
        """Weight of every term in one step."""
        return self._method.weights(step / self._total)

    def _tell(self, rates: list[float], weights: dict[str, float]) -> None:
        """Set learning rates and weights; on a GPU in tensors that stay where they are, for recordings."""
        if not self._on_gpu:
            self._rates = rates
            self._weights = dict(zip(weights, torch.tensor(list(weights.values())), strict=True))
            return
        numbers = torch.tensor([*rates, *weights.values()], dtype=torch.float32)
        if self._numbers is None:
            self._numbers = numbers.to(self._fabric.device)
            self._rates = list(self._numbers[: len(rates)])
            self._weights = dict(zip(weights, self._numbers[len(rates) :], strict=True))
        self._numbers.copy_(numbers, non_blocking=True)

    @_same_bits_each_time()
    def _compute(self, batch: Batch) -> None:
        values: list[Tensor] = []
        names: list[str] = []
        for phase, optimiser, rate in zip(self._phases, self._optimisers, self._rates, strict=True):
            # Fabric itself enters mixed precision for a `forward` only, where nothing wraps the module.
            with self._fabric.autocast():
                terms = self._model.losses(batch, self._generator, phase.name)
            terms = {name: at_least_float32(value) for name, value in terms.items()}
            weights = torch.stack([self._weights[name] for name in terms])
            loss = (weights * torch.stack(list(terms.values()))).sum()
            for group in optimiser.param_groups:
                group["lr"] = rate
                # Adam wants to be told when it is recorded.
                group["capturable"] = self._on_gpu and torch.cuda.is_current_stream_capturing()
            optimiser.zero_grad()
            self._fabric.backward(loss, inputs=phase.parameters)
            ranks.average_gradients(phase.parameters)
            optimiser.step()
            names += terms
            values += [value.detach() for value in terms.values()]
        found = torch.stack(values)
        if self._sums is None:
            self._terms, self._sums = names, torch.zeros_like(found)
            for place, name in enumerate(names):
                if name in self._carried:
                    self._sums[place] = self._carried[name]
        self._sums += found

    def means(self) -> dict[str, float]:
        """Return the mean of every term over the steps since the last call; waits for the device."""
        assert self._sums is not None, "no step was taken"
        means = {
            name: value / self._count for name, value in zip(self._terms, self._sums.tolist(), strict=True)
        }
        self._sums.zero_()
        self._count = 0
        return means

    def weights_are_finite(self) -> bool:
        """Whether all weights are finite numbers."""
        # The extremes of a tensor with NaN are NaN. `isfinite` itself writes a tensor of each of its parts,
        # which on 180 million weights takes longer than a step.
        extremes = [extreme for weight in self._method.parameters() for extreme in torch.aminmax(weight)]
        return bool(torch.stack(extremes).isfinite().all())

    def states(self) -> dict[str, Any]:
        """Everything that `go_on_from` needs: tensors, numbers, and containers of them."""
        sums = {} if self._sums is None else dict(zip(self._terms, self._sums, strict=True))
        return {
            "method": self._method.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
            "sums": sums if self._count else {},
            "steps_seen": self._count,
        }

    def go_on_from(self, states: dict[str, Any]) -> None:
        """Take over what `states` gave.

        Raises
        ------
        KeyError, TypeError, ValueError, AttributeError, RuntimeError
            When the states are not those of this method.
        """
        self._method.load_state_dict(states["method"])
        for optimiser, state in zip(self._optimisers, states["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        self._carried = {name: value.reshape(()) for name, value in states["sums"].items()}
        self._count = int(states["steps_seen"])
