"""Progress bars on standard error, so that standard output stays clean."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

T = TypeVar("T")


def _bar(enabled: bool, *columns: TextColumn) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        *columns,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not enabled,
    )


class TrainingProgress:
    """A bar over the steps of a training that shows the loss and the speed.

    Parameters
    ----------
    total : int
        Steps of the whole training.
    enabled : bool
        Show anything at all.
    """

    def __init__(self, total: int, enabled: bool) -> None:
        columns = (TextColumn("epoch {task.fields[epoch]}"), TextColumn("{task.fields[state]}"))
        self._progress = _bar(enabled, *columns)
        self._task = self._progress.add_task("training", total=total, epoch="0.0", state="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, row: dict[str, Any]) -> None:
        """Show one row of metrics."""
        state = f"loss {row['loss']:.4f}  {row['images_per_second']:,.0f} images/s"
        self._progress.update(
            self._task, completed=row["step"], epoch=f"{row['epoch']:.1f}", state=state, refresh=True
        )


def track(items: Iterable[T], description: str, enabled: bool, total: int) -> Iterator[T]:
    """Iterate with a progress bar over so many items."""
    with _bar(enabled) as progress:
        yield from progress.track(items, total=total, description=description)


@contextmanager
def stages(description: str, enabled: bool) -> Iterator[Callable[[str, float], None]]:
    """Show work of several stages: what is yielded takes the name of a stage and the share of it done."""
    with _bar(enabled) as progress:
        task = progress.add_task(description, total=1.0)

        def report(stage: str, share: float) -> None:
            progress.update(task, completed=share, description=f"{description}: {stage}")

        yield report
