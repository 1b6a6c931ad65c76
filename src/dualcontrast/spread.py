"""A batch whose rows are spread over the ranks, used as if it were one tensor.

A method is written for the whole batch: it draws random numbers for the whole batch, compares every image
with every other, takes means. Where a training runs on several devices, the images that it is given are a
`Spread`: each rank holds some of the rows, and torch's functions do with it what they do with the whole.

- What treats each row by itself (networks, pixels, resampling) is done by each rank for its own rows.
- Sums, means and batch normalisation add up over the ranks.
- Everything else, known here or not, gets the rows of all ranks together and gives an ordinary tensor, the
  same on every rank. That is always right, and quick as long as it is codes that are gathered, not images.

So the loss is that of the whole batch on every rank, and so is its gradient, if gradients are averaged over
the ranks at the end: all messages in between have the derivative of what they do.

What cannot be done in this way, such as changing a spread tensor in place, is refused with a `SettingError`.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property, partial, wraps
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dualcontrast import ranks
from dualcontrast.errors import SettingError

Function = TypeVar("Function", bound=Callable[..., Any])


class Layout:
    """Which rows each rank holds.

    Parameters
    ----------
    parts : sequence of numpy.ndarray of int
        For every rank the places of its rows in the whole, rising.
    """

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self.parts = list(parts)
        self.total = sum(map(len, self.parts))
        self.own = self.parts[ranks.rank()]

    @classmethod
    def dealt(cls, total: int) -> "Layout":
        """Deal rows out one by one, so that any first few of them are shared out evenly too."""
        return cls([np.arange(total)[own_rows(other)] for other in range(ranks.world_size())])

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Layout) and all(map(np.array_equal, self.parts, other.parts))
        )

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    @cached_property
    def places(self) -> list[Tensor]:
        """The parts as tensors."""
        return [torch.from_numpy(part) for part in self.parts]

    def cut(self, start: int, stop: int) -> tuple["Layout", slice]:
        """Keep a range of rows: the layout of what is left, and where it stands among the own rows."""
        inside = [slice(*np.searchsorted(part, (start, stop)).tolist()) for part in self.parts]
        kept = [part[rows] - start for part, rows in zip(self.parts, inside, strict=True)]
        return Layout(kept), inside[ranks.rank()]

    @classmethod
    def joined(cls, layouts: Sequence["Layout"]) -> "Layout":
        """Put one behind the other."""
        starts = np.cumsum([0, *(layout.total for layout in layouts)])
        return cls(
            [
                np.concatenate([start + part for start, part in zip(starts, parts, strict=False)])
                for parts in zip(*(layout.parts for layout in layouts), strict=True)
            ]
        )


def own_rows(of_rank: int | None = None) -> slice:
    """Tell which of the rows of a batch a rank holds: every world_size-th."""
    return slice(ranks.rank() if of_rank is None else of_rank, None, ranks.world_size())


def spread(own: Tensor, total: int) -> Tensor:
    """Make a batch of the rows that every rank holds; a plain tensor where there is one rank only.

    Parameters
    ----------
    own : Tensor, shape (n, ...)
        The rows `own_rows()` of the batch.
    total : int
        Rows of the whole batch.
    """
    return own if ranks.world_size() == 1 else _as_tensor(Spread(own, Layout.dealt(total)))


def alongside(batch: Tensor, whole: Tensor) -> Tensor:
    """Spread what every rank has as a batch of as many rows is spread, so that the work is shared."""
    layout = getattr(batch, "layout", None)
    return _wrap(_own_part(whole, layout), layout) if isinstance(layout, Layout) else whole


def by_rows(*names: str) -> Callable[[Function], Function]:
    """Mark a function that treats each row of a batch by itself, so that each rank does it for its own rows.

    Needed only for speed, and for functions that are not made of torch's, such as an `autograd.Function`. The
    function must not compare rows, nor normalise over them, nor draw random numbers.

    Parameters
    ----------
    *names : str
        The arguments whose first axis is the batch; where one of them is a plain tensor of as many rows, each
        rank takes its own part.
    """

    def mark(function: Function) -> Function:
        signature = inspect.signature(function)

        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            given = next((a for a in (*args, *kwargs.values()) if isinstance(a, Spread)), None)
            if given is None:
                return function(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            values = bound.arguments
            spread_names = [name for name in names if isinstance(values.get(name), Spread)]
            layout = values[spread_names[0]].layout if spread_names else given.layout
            for name in names:
                if isinstance(values.get(name), Spread | Tensor):
                    values[name] = _own_part(values[name], layout)
            return _wrap(function(*bound.args, **bound.kwargs), layout)

        return wrapped  # pyright: ignore[reportReturnType]

    return mark


class Spread:
    """Rows of a tensor, the others of which are on other ranks.

    Parameters
    ----------
    local : Tensor, shape (n, ...)
        The rows of this rank.
    layout : Layout
        Where they belong, and which rows the other ranks have.
    """

    def __init__(self, local: Tensor, layout: Layout) -> None:
        self.local, self.layout = local, layout

    @property
    def shape(self) -> torch.Size:
        """Of the whole."""
        return torch.Size((self.layout.total, *self.local.shape[1:]))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.local.ndim

    @property
    def dtype(self) -> torch.dtype:
        """Of the values."""
        return self.local.dtype

    @property
    def device(self) -> torch.device:
        """Where the rows of this rank are."""
        return self.local.device

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow through it."""
        return self.local.requires_grad

    def __len__(self) -> int:
        return self.layout.total

    def size(self, axis: int | None = None) -> Any:
        """Return the shape, or the length of one axis."""
        return self.shape if axis is None else self.shape[axis]

    def dim(self) -> int:
        """Return the number of axes."""
        return self.ndim

    @property
    def mT(self) -> Tensor:
        """Matrices transposed, (N, ..., n, m)."""
        return _wrap(self.local.mT, self.layout) if self.ndim > 2 else self.whole().mT

    def numel(self) -> int:
        """Return the number of values in the whole."""
        return self.shape.numel()

    def whole(self) -> Tensor:
        """Gather the rows of all ranks."""
        return ranks.gather_rows(self.local, self.layout.places)

    def __getattr__(self, name: str) -> Any:
        # Whatever else a tensor has: methods, and properties such as `mT`.
        of_tensors = getattr(Tensor, name)
        if callable(of_tensors):
            return lambda *args, **kwargs: _apply(of_tensors, (self, *args), kwargs)
        return _apply(of_tensors.__get__, (self,), {})

    def __setitem__(self, place: Any, value: Any) -> None:
        raise _in_place("assignment to an item")

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do for torch's functions what they would do with the whole."""
        return _apply(function, args, kwargs or {})


def _operator(name: str) -> Callable[..., Any]:
    of_tensors = getattr(Tensor, name)
    return lambda self, *args: _apply(of_tensors, (self, *args), {})


for _name in (
    *("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "rpow", "neg", "abs"),
    *("matmul", "rmatmul", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "invert", "getitem"),
):
    setattr(Spread, f"__{_name}__", _operator(f"__{_name}__"))


# Done value by value: what is spread may meet numbers, and tensors of as many rows or of none.
BY_VALUE = {
    *("add", "radd", "sub", "rsub", "mul", "rmul", "div", "truediv", "rtruediv", "rdiv"),
    *("pow", "rpow", "neg", "abs", "square", "sqrt", "rsqrt", "exp", "log", "sin", "cos"),
    *("tanh", "tanh_", "sigmoid", "sigmoid_", "relu", "relu_", "leaky_relu", "leaky_relu_"),
    *("elu", "gelu", "silu", "softplus", "clamp", "clamp_min", "clamp_max", "where"),
    *("maximum", "minimum", "isfinite", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "invert"),
    *("detach", "clone", "contiguous", "zeros_like", "ones_like", "float", "double"),
}
# Done along axes, by each rank for itself unless the rows are among them: what the argument is called, where
# it stands, and the axes unless given.
ALONG: dict[str, tuple[str, int, int | None]] = {
    "softmax": ("dim", 1, None),
    "log_softmax": ("dim", 1, None),
    "logsumexp": ("dim", 1, None),
    "normalize": ("dim", 2, 1),
    "unsqueeze": ("dim", 1, None),
    "unflatten": ("dim", 1, None),
    "unbind": ("dim", 1, 0),
    "flatten": ("start_dim", 1, 0),
    "tensor_split": ("dim", 2, 0),
    "roll": ("dims", 2, None),
}


def _apply(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = _name_of(function)
    rule = RULES.get(name)
    if rule is None and name in BY_VALUE:
        rule = _by_value
    if kwargs.get("out") is not None or (name.endswith("_") and rule is None):
        raise _in_place(name)
    result = NotImplemented if rule is None else rule(function, args, kwargs)
    return function(*_whole(args), **_whole(kwargs)) if result is NotImplemented else result


def _name_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", "")
    return name[2:-2] if name.startswith("__") and name.endswith("__") else name


def _in_place(name: str) -> SettingError:
    return SettingError(
        f"this method cannot be trained on several devices: {name} changes a batch in place; "
        "use --devices 1, or write it as an expression"
    )


def _whole(values: Any) -> Any:
    """Gather whatever is spread in nested arguments."""
    if isinstance(values, Spread):
        return values.whole()
    if isinstance(values, tuple | list):
        return type(values)(map(_whole, values))
    if isinstance(values, dict):
        return {name: _whole(value) for name, value in values.items()}
    return values


def _wrap(values: Any, layout: Layout) -> Any:
    """Take results of this rank's rows, nested or not, for rows of the whole."""
    if isinstance(values, Tensor):
        return _as_tensor(Spread(values, layout))
    if isinstance(values, tuple | list):
        parts = [_wrap(value, layout) for value in values]
        return type(values)(*parts) if hasattr(values, "_fields") else type(values)(parts)
    return values


def _as_tensor(values: Spread) -> Tensor:
    # To those who read types, it is the tensor that it stands for.
    return values  # pyright: ignore[reportReturnType]


def _own_part(values: Any, layout: Layout) -> Tensor:
    """Take the rows of a layout that this rank holds; what has one row for all stays as it is."""
    if isinstance(values, Spread):
        return values.local if values.layout == layout else _own_part(values.whole(), layout)
    if len(values) == 1 and layout.total != 1:
        return values
    if len(values) != layout.total:
        raise SettingError(f"a tensor of {len(values)} rows beside a batch of {layout.total}")
    return values[torch.from_numpy(layout.own).to(values.device)]


def _by_value(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    values = [*args, *kwargs.values()]
    if len(values) == 1 and _name_of(function) == "where":
        # With a condition alone, it lists places.
        return NotImplemented
    widest = max((value for value in values if isinstance(value, Spread)), key=lambda value: value.ndim)
    layout = widest.layout
    for value in values:
        if isinstance(value, Spread) and (value.ndim < widest.ndim or len(value) != layout.total):
            return NotImplemented
        if isinstance(value, Tensor) and (
            value.ndim > widest.ndim
            or (value.ndim == widest.ndim > 0 and len(value) not in (1, layout.total))
        ):
            return NotImplemented

    def own(value: Any) -> Any:
        if isinstance(value, Spread) or (isinstance(value, Tensor) and value.ndim == widest.ndim):
            return _own_part(value, layout)
        return value

    return _wrap(function(*map(own, args), **{name: own(value) for name, value in kwargs.items()}), layout)


def _to(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # `x.to(y)` takes the kind of y, not its values.
    values, *kind = (value.local if isinstance(value, Spread) else value for value in args)
    result = function(values, *kind, **kwargs)
    return _wrap(result, args[0].layout) if isinstance(args[0], Spread) else result


def _like(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # `x.new_zeros(...)` takes the kind of x only.
    return function(args[0].local, *args[1:], **kwargs) if isinstance(args[0], Spread) else NotImplemented


def _by_row(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    batch, *others = args if args else (kwargs.get("input"),)
    if not isinstance(batch, Spread) or any(isinstance(v, Spread) for v in (*others, *kwargs.values())):
        return NotImplemented
    # Without an axis for it, there is no batch.
    if batch.ndim < {"2d": 4, "3d": 5}.get(_name_of(function)[-2:], 2):
        return NotImplemented
    return _wrap(function(batch.local, *others, **kwargs), batch.layout)


def _axes(values: Any, ndim: int) -> set[int]:
    return {axis % ndim for axis in (values if isinstance(values, tuple | list) else (values,))}


def _along(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = _name_of(function)
    argument, position, default = ALONG[name]
    axes = kwargs.get(argument, args[position] if len(args) > position else default)
    batch = args[0]
    if not isinstance(batch, Spread) or axes is None:
        return NotImplemented
    if 0 in _axes(axes, batch.ndim + (name == "unsqueeze")):
        return NotImplemented
    return _wrap(function(batch.local, *args[1:], **kwargs), batch.layout)


def _sum_or_mean(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    batch = args[0]
    axes = kwargs.get("dim", args[1] if len(args) > 1 else None)
    if not isinstance(batch, Spread):
        return NotImplemented
    if axes is not None:
        if 0 in _axes(axes, batch.ndim):
            return NotImplemented
        return _wrap(function(batch.local, *args[1:], **kwargs), batch.layout)
    if kwargs:
        return NotImplemented
    total = ranks.sum_over_ranks(batch.local.sum())
    return total / batch.numel() if _name_of(function) == "mean" else total


def _pixel_loss(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    kwargs = {name: value for name, value in kwargs.items() if value is not None}
    reduction = kwargs.pop("reduction", "mean")
    if len(args) != 2 or kwargs:
        return NotImplemented
    each = _by_value(partial(function, reduction="none"), args, {})
    if each is NotImplemented or reduction == "none":
        return each
    return each.mean() if reduction == "mean" else each.sum()


def _cat(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensors = list(args[0])
    axis = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    batch = next((tensor for tensor in tensors if isinstance(tensor, Spread)), None)
    if batch is None:
        return NotImplemented
    if _axes(axis, batch.ndim) == {0}:
        parts = [
            t if isinstance(t, Spread) else Spread(_own_part(t, dealt := Layout.dealt(len(t))), dealt)
            for t in tensors
        ]
        joined = Layout.joined([part.layout for part in parts])
        return _wrap(torch.cat([part.local for part in parts]), joined)
    return _wrap(torch.cat([_own_part(t, batch.layout) for t in tensors], dim=axis), batch.layout)


def _split(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    batch, size = args[0], args[1]
    axis = kwargs.get("dim", args[2] if len(args) > 2 else 0)
    if not isinstance(batch, Spread):
        return NotImplemented
    if _axes(axis, batch.ndim) != {0}:
        return _wrap(function(batch.local, size, axis), batch.layout)
    if _name_of(function) == "chunk":
        size = -(-len(batch) // size)
    sizes = [size] * (-(-len(batch) // size)) if isinstance(size, int) else size
    ends = np.minimum(np.cumsum(sizes), len(batch))
    return tuple(_cut(batch, int(start), int(end)) for start, end in zip([0, *ends[:-1]], ends, strict=True))


def _cut(batch: Spread, start: int, stop: int) -> Tensor:
    layout, inside = batch.layout.cut(start, stop)
    return _as_tensor(Spread(batch.local[inside], layout))


def _getitem(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    batch, place = args
    if not isinstance(batch, Spread):
        return NotImplemented
    if isinstance(place, slice):
        start, stop, step = place.indices(len(batch))
        return _cut(batch, start, max(start, stop)) if step == 1 else NotImplemented
    if isinstance(place, int):
        at = range(len(batch))[place]
        return _whole(_cut(batch, at, at + 1))[0]
    if isinstance(place, Tensor) and place.dtype == torch.int64 and place.ndim == 1:
        # Rows from anywhere: gathered, and dealt out anew.
        layout = Layout.dealt(len(place))
        if len(place) == len(batch):
            layout = batch.layout
        return _wrap(batch.whole()[_own_part(place, layout)], layout)
    # Several arrays of places, or a mask over several axes, may move or take in the axis of the rows.
    arrays = [part for part in place if isinstance(part, Tensor | Spread)] if isinstance(place, tuple) else []
    if (
        not isinstance(place, tuple)
        or len(arrays) > 1
        or any(isinstance(a, Spread) or a.ndim > 1 for a in arrays)
    ):
        return NotImplemented
    if isinstance(place[0], slice) and place[0] == slice(None):
        return _wrap(batch.local[place], batch.layout)
    # `x[..., 3]`, as long as the dots stand for the rows too.
    taken = sum(part is not None for part in place[1:])
    if place[0] is Ellipsis and taken < batch.ndim:
        return _wrap(batch.local[place], batch.layout)
    return NotImplemented


def _roll(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    batch = args[0]
    shift = kwargs.get("shifts", args[1] if len(args) > 1 else None)
    axis = kwargs.get("dims", args[2] if len(args) > 2 else None)
    if not isinstance(batch, Spread) or axis not in (0, (0,), [0]) or not isinstance(shift, int):
        return _along(function, args, kwargs)
    count = len(batch)
    return _getitem(function, (batch, (torch.arange(count, device=batch.device) - shift) % count), {})


def _reshape(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    batch, *shape = args
    if len(shape) == 1 and isinstance(shape[0], tuple | list):
        shape = list(shape[0])
    if not isinstance(batch, Spread) or not shape:
        return NotImplemented
    rest = batch.local.shape[1:].numel()
    wanted = [length for length in shape[1:] if length != -1]
    others = int(np.prod(wanted, dtype=int))
    keeps_rows = (shape[0] == -1 and len(wanted) == len(shape) - 1 and others == rest) or (
        shape[0] == len(batch) and (others == rest or (len(wanted) < len(shape) - 1 and rest % others == 0))
    )
    if not keeps_rows:
        return NotImplemented
    known = [rest // others if length == -1 else length for length in shape[1:]]
    return _wrap(batch.local.reshape(len(batch.local), *known), batch.layout)


def _matmul(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    left, right = args
    if isinstance(left, Spread) and isinstance(right, Tensor) and left.ndim >= 2 and right.ndim == 2:
        return _wrap(function(left.local, right), left.layout)
    return NotImplemented


def _batch_norm(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    bound = inspect.signature(F.batch_norm).bind(*args, **kwargs)
    bound.apply_defaults()
    batch, running_mean, running_var, weight, bias, training, momentum, eps = bound.args
    if not isinstance(batch, Spread):
        return NotImplemented
    if not training:
        return _wrap(function(batch.local, *bound.args[1:]), batch.layout)
    values = batch.local.float() if batch.dtype in (torch.float16, torch.bfloat16) else batch.local
    axes = [axis for axis in range(values.ndim) if axis != 1]
    channels = [-1 if axis == 1 else 1 for axis in range(values.ndim)]
    count = batch.numel() // values.shape[1]
    if count < 2:
        raise ValueError(f"batch normalisation needs more than one value a channel, got {tuple(batch.shape)}")
    mean = ranks.sum_over_ranks(values.sum(axes)) / count
    centred = values - mean.reshape(channels)
    variance = ranks.sum_over_ranks(centred.square().sum(axes)) / count
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_((variance * (count / (count - 1))).to(running_var), momentum)
    normal = centred * torch.rsqrt(variance + eps).reshape(channels)
    if weight is not None:
        normal = normal * weight.reshape(channels)
    if bias is not None:
        normal = normal + bias.reshape(channels)
    return _wrap(normal.to(batch.dtype), batch.layout)


def _instance_norm(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    running = args[1] if len(args) > 1 else kwargs.get("running_mean")
    # Running statistics are means over the batch.
    return _by_row(function, args, kwargs) if running is None else NotImplemented


def _cosine(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    a, b = args[0], args[1]
    axis = kwargs.get("dim", args[2] if len(args) > 2 else 1)
    if not isinstance(a, Spread) or b.shape != a.shape or _axes(axis, a.ndim) == {0}:
        return NotImplemented
    return _wrap(function(a.local, _own_part(b, a.layout), *args[2:], **kwargs), a.layout)


# What is known by name; each rule gives NotImplemented where it is not about these arguments.
RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("linear", "interpolate", "group_norm"), _by_row),
    **dict.fromkeys(("conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d"), _by_row),
    **dict.fromkeys(ALONG, _along),
    "to": _to,
    "new_zeros": _like,
    "new_ones": _like,
    "new_tensor": _like,
    "sum": _sum_or_mean,
    "mean": _sum_or_mean,
    "mse_loss": _pixel_loss,
    "binary_cross_entropy_with_logits": _pixel_loss,
    "cat": _cat,
    "split": _split,
    "chunk": _split,
    "getitem": _getitem,
    "roll": _roll,
    "reshape": _reshape,
    "view": _reshape,
    "matmul": _matmul,
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "cosine_similarity": _cosine,
}
