"""Methods by name. A new method is one file in this folder that defines a `Method`."""

import importlib
import inspect
import pkgutil

from dualcontrast import methods
from dualcontrast.methods.base import Method
from dualcontrast.settings import unknown_name


def all_methods() -> dict[str, type[Method]]:
    """Find every method in the modules of this folder."""
    found: dict[str, type[Method]] = {}
    for module_info in pkgutil.iter_modules(methods.__path__):
        module = importlib.import_module(f"{methods.__name__}.{module_info.name}")
        for _, candidate in inspect.getmembers(module, inspect.isclass):
            if issubclass(candidate, Method) and not inspect.isabstract(candidate):
                found[candidate.name] = candidate
    return dict(sorted(found.items()))


def method_class(name: str) -> type[Method]:
    """Return the method of a name.

    Raises
    ------
    SettingError
        When there is none, with the nearest name.
    """
    found = all_methods()
    if name not in found:
        raise unknown_name(name, list(found), "method")
    return found[name]
