"""What no module of the package may do: load what can run code, run a shell, or unpack without a look."""

import ast
import re
from pathlib import Path

import pytest

import dualcontrast

SOURCE = Path(dualcontrast.__file__).parent

# Modules whose loading of files can run code, or that exist to run other programs in a shell.
MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "shelve",
    "marshal",
    "joblib",
    "tarfile",
    "commands",
    "pty",
}
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "tempfile.mktemp",
    "shutil.unpack_archive",
}
YAML = {
    "yaml.load",
    "yaml.load_all",
    "yaml.full_load",
    "yaml.unsafe_load",
    "yaml.Loader",
    "yaml.UnsafeLoader",
}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def is_constant(call: ast.Call, name: str, value: object) -> bool:
    given = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    return isinstance(given, ast.Constant) and given.value is value


def faults(tree: ast.AST) -> list[str]:
    """List what a module does and must not do, with the line."""
    found = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            names = [node.module or ""]
        elif isinstance(node, ast.Attribute) and dotted(node) in YAML:
            names = [dotted(node)]
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in CALLS:
                names = [name]
            elif name == "torch.load" and not is_constant(node, "weights_only", True):
                names = ["torch.load without weights_only=True"]
            elif name in ("np.load", "numpy.load") and not is_constant(node, "allow_pickle", False):
                names = ["np.load without allow_pickle=False"]
            elif name in ("Environment", "jinja2.Environment") and not is_constant(node, "autoescape", True):
                names = ["templates without autoescape=True"]
            elif name.endswith((".extractall", ".extract", ".from_string")):
                names = [name]
            if any(
                keyword.arg == "shell" and not is_constant(node, "shell", False) for keyword in node.keywords
            ):
                names.append("shell=True")
            if any(
                keyword.arg == "verify" and is_constant(node, "verify", False) for keyword in node.keywords
            ):
                names.append("verify=False")
        found += [f"line {getattr(node, 'lineno', 0)}: {name}" for name in names]
    return found


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.externals",
        "from tarfile import open",
        "eval('1')",
        "exec(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, yaml.SafeLoader)",
        "yaml.unsafe_load(text)",
        "subprocess.run('ls', shell=True)",
        "os.system('ls')",
        "archive.extractall(folder)",
        "Environment(loader=x)",
        "requests.get(url, verify=False)",
    ],
)
def test_the_rules_see_what_they_forbid(code):
    assert faults(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "import pickletools",
        "torch.load(path, weights_only=True)",
        "np.load(path, mmap_mode='r', allow_pickle=False)",
        "yaml.safe_dump(x)",
        "subprocess.run(['ls'])",
        "network.eval()",
        "re.compile('x')",
        "Environment(autoescape=True)",
    ],
)
def test_the_rules_let_everything_else_pass(code):
    assert not faults(ast.parse(code))


def test_no_module_breaks_them():
    modules = sorted(SOURCE.rglob("*.py"))
    assert len(modules) > 100
    broken = {}
    for module in modules:
        found = faults(ast.parse(module.read_text()))
        if found:
            broken[module.relative_to(SOURCE).as_posix()] = found
    assert not broken


def test_downloads_are_encrypted():
    addresses = {
        address
        for module in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for address in re.findall(r"\bhttps?://[^\s)>;,]+", node.value)
    }
    # The first is where MNIST was published, told and never asked.
    plain = {address for address in addresses if address.startswith("http://")}
    assert plain == {"http://yann.lecun.com/exdb/mnist/"}
    assert any(address.startswith("https://zenodo.org") for address in addresses)
