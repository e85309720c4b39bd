"""Finds code that would run, unpack or show what a stranger wrote: by the syntax tree, with names followed through imports."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

UNPICKLING = {
    "pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle", "pandas.read_pickle",
    "torch.package", "torch.jit.load", "torch.hub.load",
}  # fmt: skip
RUNNING = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.startfile", "subprocess.getoutput",
    "subprocess.getstatusoutput", "pty.spawn", "runpy", "code", "ctypes",
}  # fmt: skip
UNPACKING = {"tempfile.mktemp", "os.tempnam", "shutil.unpack_archive"}
NEVER = UNPICKLING | RUNNING | UNPACKING
STARTING = re.compile(r"os\.(exec|spawn|posix_spawn)\w*")
METHODS = {"read_pickle", "to_pickle", "extractall", "unpack_archive"}  # of whatever they are called
HARMLESS = {"pickle.UnpicklingError", "pickle.PickleError"}  # what is raised, not what reads
# What is safe with one keyword only.
KEYWORDS = {
    "torch.load": ("weights_only", True),
    "torch.hub.load_state_dict_from_url": ("weights_only", True),
    "numpy.load": ("allow_pickle", False),
    "numpy.lib.format.read_array": ("allow_pickle", False),
    "jinja2.Environment": ("autoescape", True),
    "ruamel.yaml.YAML": ("typ", "safe"),
}
LOADERS = {"torch.load", "torch.hub.load_state_dict_from_url", "numpy.load", "numpy.lib.format.read_array"}
# In templates and in scripts of pages.
TEMPLATES = {
    r"\|\s*safe\b": "|safe",
    r"autoescape": "autoescape",
    r"javascript:": "javascript:",
    r"\son\w+\s*=": "on...=",
}
SCRIPTS = {
    r"\b(inner|outer)HTML\b": "innerHTML", r"insertAdjacentHTML": "insertAdjacentHTML", r"document\.write": "document.write",
    r"\beval\s*\(": "eval", r"\bFunction\s*\(": "Function", r"\bset(?:Timeout|Interval)\s*\(\s*[\"'`]": "setTimeout of a text",
    r"\.on[a-z]+\s*=": "on...=", r"DOMParser|createContextualFragment": "DOMParser",
}  # fmt: skip


def in_python(text: str) -> list[str]:
    """Dangers of a module, named, in the order of the file."""
    nodes = list(ast.walk(ast.parse(text)))
    names = _imported(nodes)
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    found = [danger for node in nodes for danger in _of_node(node, names)]
    handed_on = (node for node in nodes if isinstance(node, (ast.Attribute, ast.Name)) and id(node) not in called)
    return found + [_without(name) for node in handed_on if (name := _full(node, names)) in LOADERS]


def in_template(text: str) -> list[str]:
    """Dangers of a template."""
    return [name for pattern, name in TEMPLATES.items() for _ in re.finditer(pattern, text)]


def in_script(text: str) -> list[str]:
    """Dangers of a page's script."""
    return [name for pattern, name in SCRIPTS.items() for _ in re.finditer(pattern, text)]


def in_folder(folder: Path) -> Iterator[tuple[str, str]]:
    """Path of the file and danger, over all code of a folder."""
    readers = {".py": in_python, ".j2": in_template, ".html": in_template, ".js": in_script}
    for path in sorted(path for path in folder.rglob("*") if path.suffix in readers):
        place = path.relative_to(folder.parent).as_posix()
        yield from ((place, danger) for danger in readers[path.suffix](path.read_text(encoding="utf-8")))


def _imported(nodes: list[ast.AST]) -> dict[str, str]:
    """Full names by the names that they have in the module."""
    names: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.split(".")[0]: alias.name if alias.asname else alias.name.split(".")[0]
                      for alias in node.names}  # fmt: skip
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _of_node(node: ast.AST, names: dict[str, str]) -> Iterator[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from _of_import(node)
    elif isinstance(node, ast.Attribute):
        yield from _of_name(_full(node, names))
    elif isinstance(node, ast.Call):
        yield from _of_call(node, _full(node.func, names))


def _of_import(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """A module that nobody needs, or a name out of one; `import pickle` alone gives its exceptions."""
    if isinstance(node, ast.Import):
        found = [alias.name for alias in node.names if alias.name != "pickle"]
    else:
        found = [f"{node.module}.{alias.name}" for alias in node.names]
    for name in found:
        if name.split(".")[0] == "yaml":
            yield "yaml"
        yield from _of_name(name)


def _of_name(name: str) -> Iterator[str]:
    """A name that is never right, wherever it stands."""
    parents = {name.rsplit(".", level)[0] for level in range(name.count(".") + 1)} | {name}
    if name not in HARMLESS and (parents & NEVER - {"eval", "exec", "compile"} or STARTING.fullmatch(name)):
        yield name
    elif name.rpartition(".")[2] in METHODS:
        yield name.rpartition(".")[2]


def _of_call(node: ast.Call, name: str) -> Iterator[str]:
    """A call that is right with some arguments only."""
    keywords = {word.arg: word.value for word in node.keywords}
    if name in ("eval", "exec", "compile", "__import__"):
        yield name
    if name in KEYWORDS:
        keyword, value = KEYWORDS[name]
        if _constant(keywords.get(keyword)) != value:
            yield _without(name)
    if "shell" in keywords and _constant(keywords["shell"]) is not False:
        yield "shell=True"
    if (
        name.startswith("subprocess.")
        and node.args
        and isinstance(node.args[0], (ast.Constant, ast.JoinedStr, ast.BinOp))
    ):
        yield "a command in one text"
    if name == "importlib.import_module" and not (node.args and isinstance(node.args[0], ast.Constant)):
        yield name
    if name.startswith("markupsafe.Markup"):
        yield "markupsafe.Markup"


def _without(name: str) -> str:
    keyword, value = KEYWORDS[name]
    return f"{name} without {keyword}={value}"


def _constant(node: ast.expr | None) -> object:
    return node.value if isinstance(node, ast.Constant) else ...


def _full(node: ast.expr, names: dict[str, str]) -> str:
    """``np.lib.format.read_array`` as ``numpy.lib.format.read_array``; of what is no name, only the last part."""
    if isinstance(node, ast.Attribute):
        return f"{_full(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""
