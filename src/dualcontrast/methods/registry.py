"""Methods by name. A new method is one file in this folder that defines a `Method`."""

import importlib
import inspect
import pkgutil

from dualcontrast import methods
from dualcontrast.errors import SettingError
from dualcontrast.methods.base import Method
from dualcontrast.settings import unknown_name


def all_methods() -> dict[str, type[Method]]:
    """Find every method in the modules of this folder.

    A module's methods are the classes that it defines and names itself.

    Raises
    ------
    SettingError
        When two modules give their methods the same name.
    """
    found: dict[str, type[Method]] = {}
    for module_info in pkgutil.iter_modules(methods.__path__):
        module = importlib.import_module(f"{methods.__name__}.{module_info.name}")
        for _, candidate in inspect.getmembers(module, inspect.isclass):
            if not issubclass(candidate, Method) or candidate.__module__ != module.__name__:
                continue
            if "name" not in vars(candidate):
                continue
            if (other := found.get(candidate.name)) is not None:
                raise SettingError(
                    f"{inspect.getsourcefile(candidate)}: '{candidate.name}' is the name of the method in "
                    f"{inspect.getsourcefile(other)} already; give it another `name`"
                )
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
