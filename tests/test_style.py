"""The style of the house that a linter does not know: names that name the thing, and docstrings that describe arrays.

Names and sections are looked at folder by folder, so that a failure says where.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Set
from enum import StrEnum
from functools import cache
from pathlib import Path

import pytest

import cbir_daemon
from cbir_daemon import comparison, errors, kinds, records
from tests.conftest import COMPILING_FILE, FITTING_FILES, LONG_FILES

PACKAGE = Path(cbir_daemon.__file__).parent
HERE = Path(__file__).parent
STAND_INS = {
    "MIGRATIONS": "stands for a later release",
    "SCHEMA_VERSION": "stands for a later release",
    "MODEL_VERSION": "stands for a later release",
}
"""Constants that tests replace, and why they are no arguments."""

TESTS = sorted([*HERE.rglob("*.py"), *(HERE.parent / "scripts" / "benchmarks").rglob("*.py")])
"""Tests and benchmarks."""
BENCHMARKS = Path(__file__).parents[1] / "scripts" / "benchmarks"

PRONOUNS = {"given", "left", "one", "other", "some", "told", "wanted"}

MISTAKABLE = {"map": {"kept"}, "matching": {"maps"}}
"""Names with another meaning in a folder: the share of neighbours is a `recall`, an affine transform an `affine`."""

ARRAY = re.compile(r"NDArray|Floats|Codes")
"""Types of which the annotation does not say the shape."""

SECTION = re.compile(r"^Parameters\n-{10}\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", re.MULTILINE | re.DOTALL)
"""What stands below "Parameters", up to the next title."""

RAISES = re.compile(r"^Raises\n-{6}\n", re.MULTILINE)

SHAPE = re.compile(r"\((?:\.\.\.(?:, \w+)*|[\w *+-]+,[^)]*)\)")
"""A shape, such as `(n, 2)` or `(k,)`."""

ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
"""The tree of errors."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(folder: str) -> list[Path]:
    """Return the modules of a folder, or the module of that name."""
    return sorted((PACKAGE / folder).rglob("*.py")) or [PACKAGE / f"{folder}.py"]


def folders() -> list[str]:
    """Return the folders and modules of the package."""
    return sorted({path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")})


def public_functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Yield the functions of a module and the methods of its classes whose names do not begin with an underscore."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public_functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, Function) and not child.name.startswith("_"):
            yield f"{prefix}{child.name}", child


def parameters(function: Function) -> list[ast.arg]:
    """Return what a caller gives to a function: neither `self` and `cls`, nor the connection of a decorated reader."""
    taken = function.args
    rest = [parameter for parameter in (taken.vararg,) if parameter is not None]
    every = [*taken.posonlyargs, *taken.args, *rest, *taken.kwonlyargs]
    unseen = {"self", "cls", *(["connection"] if function.decorator_list else [])}
    return [parameter for parameter in every if parameter.arg not in unseen]


def is_command(function: Function) -> bool:
    """Return whether click calls a function: its docstring is the text of `--help`, which describes each option."""
    makers = [decorator.func for decorator in function.decorator_list if isinstance(decorator, ast.Call)]
    return any(isinstance(maker, ast.Attribute) and maker.attr in {"command", "group"} for maker in makers)


def needs_section(function: Function) -> bool:
    """Return whether the signature alone leaves a caller with questions: several values, or an array."""
    if is_command(function):
        return False
    return len(parameters(function)) > 1 or takes_array(function)


def takes_array(function: Function) -> bool:
    """Return whether the type of a parameter does not say its shape."""
    types = [parameter.annotation for parameter in parameters(function)]
    return any(annotation is not None and ARRAY.search(ast.unparse(annotation)) for annotation in types)


@cache
def protocols() -> dict[str, dict[str, list[str]]]:
    """Return for each protocol of the package its methods and what each takes."""
    return {
        node.name: {
            name: [parameter.arg for parameter in parameters(method)] for name, method in public_functions(node)
        }
        for path in PACKAGE.rglob("*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and "Protocol" in [ast.unparse(base) for base in node.bases]
    }


def described_by_protocol(tree: ast.Module) -> set[str]:
    """Return the methods of classes that say whose protocol they have, "a `FileReader`", and take what that says."""
    found = set()
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        for protocol in re.findall(r"; a `(\w+)`\.", ast.get_docstring(node) or ""):
            methods = protocols()[protocol]
            found |= {
                f"{node.name}.{name}"
                for name, method in public_functions(node)
                if methods.get(name) == [parameter.arg for parameter in parameters(method)]
            }
    return found


def undescribed(source: str, needs: Callable[[Function], bool] = needs_section) -> list[str]:
    """Return the public functions of a module that need a section "Parameters", and have none, nor a protocol's."""
    tree = ast.parse(source)
    elsewhere = described_by_protocol(tree)
    return [
        name
        for name, function in public_functions(tree)
        if needs(function) and name not in elsewhere and not SECTION.search(ast.get_docstring(function) or "")
    ]


def described(docstring: str | None) -> list[str]:
    """Return the names below "Parameters"; none without such a section."""
    section = SECTION.search(docstring or "")
    # Names stand at the margin, what is said of them does not.
    heads = [] if section is None else re.findall(r"^\S.*", section[1], re.MULTILINE)
    return [name.strip().lstrip("*") for head in heads for name in head.partition(" : ")[0].split(",")]


def fields(node: ast.ClassDef) -> list[str]:
    """Return what the maker of an instance passes: the parameters of `__init__`, or the fields of a dataclass."""
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return [parameter.arg for parameter in parameters(statement)]
    return [
        child.target.id
        for child in node.body
        if isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name)
    ]


def wrongly_described(source: str) -> list[str]:
    """Return the functions and classes of a module whose docstring names other parameters than they have."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function) and (listed := described(ast.get_docstring(node))):
            wrong += [node.name] * (listed != [parameter.arg for parameter in parameters(node)])
        elif isinstance(node, ast.ClassDef):
            wrong += [node.name] * (not set(described(ast.get_docstring(node))) <= set(fields(node)))
    return wrong


def names(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of each value, parameter and attribute that is defined somewhere below a node."""
    for child in ast.walk(node):
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.lineno, child.id
        elif isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Store):
            yield child.lineno, child.attr
        elif isinstance(child, ast.arg):
            yield child.lineno, child.arg
        elif isinstance(child, ast.ExceptHandler) and child.name is not None:
            yield child.lineno, child.name


def misnamed(source: str, banned: Set[str] = PRONOUNS) -> list[tuple[int, str]]:
    """Return line and name of the values of a module whose names are banned."""
    found = set()
    for statement in ast.parse(source).body:
        defined = list(names(statement))
        # A side, where there are others.
        sides = {"left"} if {"top", "right"} & {name for _, name in defined} else set()
        found |= {(line, name) for line, name in defined if name.lstrip("_") in banned - sides}
    return sorted(found)


@pytest.mark.parametrize("folder", folders())
def test_public_functions_describe_what_they_take(folder: str) -> None:
    """Each that takes two values or an array has a section "Parameters"."""
    found = [f"{path.name}: {name}" for path in sources(folder) for name in undescribed(path.read_text("utf-8"))]
    assert not found, "\n".join(found)


def raised(function: Function) -> set[str]:
    """Return the errors of the tree that a function raises itself."""
    names = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            names.add(getattr(error, "attr", getattr(error, "id", "")))
    return names & ERRORS


def silent_about_errors(source: str) -> list[str]:
    """Return the public functions of a module that raise an error of ours and have no section "Raises"."""
    return [
        name
        for name, function in public_functions(ast.parse(source))
        if raised(function) and not is_command(function) and not RAISES.search(ast.get_docstring(function) or "")
    ]


@pytest.mark.parametrize("folder", folders())
def test_public_functions_describe_what_they_raise(folder: str) -> None:
    """Each that raises an error of the tree itself says when."""
    found = [
        f"{path.name}: {name}" for path in sources(folder) for name in silent_about_errors(path.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)
    shown = 'def read(path):\n    """Read.{}"""\n    raise errors.NotFoundError(path)'
    assert silent_about_errors(shown.format("")) == ["read"]
    assert not silent_about_errors(shown.format("\n\n    Raises\n    ------\n    NotFoundError\n    "))


def shapeless(source: str) -> list[str]:
    """Return the public functions of a module that return an array and do not say its shape in brackets."""
    tree = ast.parse(source)
    elsewhere = described_by_protocol(tree)
    return [
        name
        for name, function in public_functions(tree)
        if name not in elsewhere
        if function.returns is not None and ARRAY.search(ast.unparse(function.returns))
        if not SHAPE.search(ast.get_docstring(function) or "")
    ]


@pytest.mark.parametrize("folder", folders())
def test_public_functions_describe_the_arrays_that_they_return(folder: str) -> None:
    """Each has a shape in its docstring, such as `(n, 2)`."""
    found = [f"{path.name}: {name}" for path in sources(folder) for name in shapeless(path.read_text("utf-8"))]
    assert not found, "\n".join(found)
    shown = 'def codes() -> Floats:\n    """Return {}codes."""'
    assert shapeless(shown.format("")) == ["codes"]
    assert not shapeless(shown.format("(n, 256) "))


def test_the_benchmarks_describe_the_arrays_that_they_take() -> None:
    """Each of their public functions that takes an array has a section "Parameters"."""
    sources = {path.name: path.read_text("utf-8") for path in BENCHMARKS.glob("*.py")}
    assert sources
    found = [f"{name}: {function}" for name, text in sources.items() for function in undescribed(text, takes_array)]
    assert not found, "\n".join(found)
    assert not [name for name, text in sources.items() if wrongly_described(text)]


@pytest.mark.parametrize("folder", folders())
def test_what_is_described_is_what_is_taken(folder: str) -> None:
    """A section "Parameters" has each parameter of a function, in order; of a class, none that is not there."""
    found = [f"{path.name}: {name}" for path in sources(folder) for name in wrongly_described(path.read_text("utf-8"))]
    assert not found, "\n".join(found)


def is_private(name: str) -> bool:
    """Return whether a name is its owner's own; those of named tuples, and of notebooks, are for everybody."""
    public = {"_asdict", "_fields", "_replace", "_repr_html_"}
    return name.startswith("_") and not name.startswith("__") and name not in public


def replaced(call: ast.Call) -> str:
    """Return the name of what a `setattr` of pytest replaces: it is given whole, or after the object that has it."""
    for part in call.args[:2]:
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            return part.value
    return ""


def reaches(source: str) -> list[tuple[int, str]]:
    """Return line and name of what a module takes, or replaces, of the private names of another one or of an object."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            found += [(node.lineno, node.attr)] * (owner not in {"self", "cls"} | sys.stdlib_module_names)
        elif isinstance(node, ast.ImportFrom):
            found += [(node.lineno, alias.name) for alias in node.names if is_private(alias.name)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr":
            name = replaced(node)
            found += [(node.lineno, name)] * is_private(name.rpartition(".")[2])
    return sorted(found)


def replaced_constants(source: str) -> set[str]:
    """Return the constants that a module replaces for a while."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = {
        replaced(call).rpartition(".")[2]
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "setattr"
    }
    return {name for name in names if re.fullmatch("[A-Z][A-Z0-9_]+", name)}


def test_what_tests_want_otherwise_is_an_argument() -> None:
    """No constant is replaced but those of which it is said why."""
    assert set().union(*(replaced_constants(path.read_text("utf-8")) for path in TESTS)) == STAND_INS.keys()


def test_what_comes_first_is_there() -> None:
    """No file that was split or renamed is left in the list of those that take long."""
    assert {path.name for path in TESTS} >= LONG_FILES | FITTING_FILES | {COMPILING_FILE}


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_tests_come_in_by_the_door(path: Path) -> None:
    """No test, and no benchmark, reaches into what is private to the code that it looks at."""
    assert not reaches(path.read_text("utf-8"))


def spelled_out(source: str, words: Set[str]) -> list[tuple[int, str]]:
    """Return line and word where a module compares a value with one of these words as text."""
    comparisons = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Compare)]
    operands = [
        operand
        for comparison in comparisons
        for operator, right in zip(comparison.ops, comparison.comparators, strict=True)
        # Whether a mapping has a key is not asked of a state.
        for operand in ([] if isinstance(operator, ast.In | ast.NotIn) else [comparison.left]) + [right]
    ]
    constants = [node for operand in operands for node in getattr(operand, "elts", [operand])]
    texts = [(node.lineno, node.value) for node in constants if isinstance(node, ast.Constant)]
    return sorted((line, text) for line, text in texts if isinstance(text, str) and text in words)


def test_states_and_kinds_are_compared_by_their_names() -> None:
    """A state that is renamed, or misspelt, is found by the type checker."""
    enums = [
        value
        for module in (comparison, kinds, records)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, StrEnum)
    ]
    words = {member.value for enum in enums for member in enum}
    assert {"missing", "done", "copy"} <= words
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {word}"
        for path in PACKAGE.rglob("*.py")
        for line, word in spelled_out(path.read_text("utf-8"), words)
    ]
    assert not found, "\n".join(found)
    assert spelled_out("a == 'done' or b in ('copy', 1) or 'done' in c", words) == [(1, "copy"), (1, "done")]


EXCEPTION = re.compile(r"# (?:noqa: [A-Z0-9, ]+|type: ignore\[[\w,-]+\])(.*)$")
"""A line that is let off a rule, and what stands behind."""


def unexplained(source: str) -> list[int]:
    """Return the lines that are let off a rule without a reason, behind it or on one of the three lines above."""
    lines = source.splitlines()
    return [
        number + 1
        for number, line in enumerate(lines)
        if (exception := EXCEPTION.search(line)) and not exception[1].strip()
        if not any(above.lstrip().startswith("# ") for above in lines[max(0, number - 3) : number])
    ]


def test_whoever_is_let_off_a_rule_says_why() -> None:
    """Each `noqa` and each `type: ignore` of the package and the tests has a reason."""
    found = [
        f"{path.name}:{line}" for path in [*PACKAGE.rglob("*.py"), *TESTS] for line in unexplained(path.read_text())
    ]
    assert not found, "\n".join(found)
    assert unexplained("a = b  # noqa: " + "S608\nc = d  # type: " + "ignore[misc]") == [1, 2]
    assert not unexplained("a = b  # noqa: " + "S608 -- ours\nc = d  # type: " + "ignore[misc]  # no stubs")
    assert not unexplained("# It is ours.\na = b  # noqa: " + "S608")


PRONOUNS_IN_FUNCTIONS = {"given", "some", "told", "wanted"}
"""No part of a function's name either; `other` and `one` before a noun say which."""


def misnamed_functions(source: str) -> list[tuple[int, str]]:
    """Return line and name of the functions of a module, tests aside, whose names are pronouns or have one in them."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, Function)]
    return [
        (function.lineno, function.name)
        for function in functions
        if not function.name.startswith("test_")
        if function.name.strip("_") in PRONOUNS or PRONOUNS_IN_FUNCTIONS & set(function.name.split("_"))
    ]


def test_no_function_is_called_by_a_pronoun() -> None:
    """A function is called by what it does or returns; the name of a test is a sentence."""
    paths = [*PACKAGE.rglob("*.py"), *TESTS]
    found = [f"{path.name}:{line}: {name}" for path in paths for line, name in misnamed_functions(path.read_text())]
    assert not found, "\n".join(found)
    assert misnamed_functions("def one(): ...\ndef _some_terms(): ...\ndef one_of(): ...") == [
        (1, "one"),
        (2, "_some_terms"),
    ]


@pytest.mark.parametrize("folder", folders())
def test_no_value_is_called_by_a_pronoun(folder: str) -> None:
    """Each value, parameter and attribute is called by what it is."""
    found = [f"{path.name}:{line}: {name}" for path in sources(folder) for line, name in misnamed(path.read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_no_value_of_a_test_is_called_by_a_pronoun(path: Path) -> None:
    """What looks at the code is read as often as the code."""
    assert not misnamed(path.read_text("utf-8"))


@pytest.mark.parametrize("folder", MISTAKABLE)
def test_no_value_has_a_name_that_means_something_else(folder: str) -> None:
    """In the room of the map `kept` is no recall, and in that of matching `maps` are no affines."""
    found = [
        f"{path.name}:{line}: {name}"
        for path in sources(folder)
        for line, name in misnamed(path.read_text(), MISTAKABLE[folder])
    ]
    assert not found, "\n".join(found)


def test_these_checks_find_what_they_look_for() -> None:
    """A function with an array and no section is found, and each way to define a name."""
    assert undescribed("def scores(codes: NDArray[np.int8]) -> int: ...") == ["scores"]
    assert undescribed("class A:\n    def put(self, key: str, value: str) -> None:\n        '''Put.'''") == ["A.put"]
    assert not undescribed("class A:\n    def get(self, key: str) -> str: ...\n    def _put(self, key, value): ...")
    assert not undescribed(
        'def put(key, value):\n    """Put.\n\n    Parameters\n    ----------\n    key : str\n    """'
    )
    assert not undescribed("@cbir.command()\n@AS_JSON\ndef scan(path, as_json):\n    '''Look again.'''")
    assert undescribed("@command\ndef scan(path, as_json): ...") == ["scan"]
    reader = "class Own:\n    '''Of mine; a `FileReader`.'''\n    def read(self, data, {}): ..."
    assert not undescribed(reader.format("max_pixels"))
    assert undescribed(reader.format("fewest_pixels")) == ["Own.read"]
    assert undescribed("def put(rows: NDArray[np.int8]): ...\ndef get(a, b): ...", takes_array) == ["put"]
    both = (
        'def put(key, value):\n    """Put.\n\n    Parameters\n    ----------\n    key, {} : str\n        Text.\n    """'
    )
    assert not wrongly_described(both.format("value"))
    assert wrongly_described(both.format("number")) == wrongly_described(both.replace(", {}", "")) == ["put"]
    made = 'class A:\n    """Has a key.\n\n    Parameters\n    ----------\n    {} : str\n    """\n\n    key: str'
    assert not wrongly_described(made.format("key"))
    assert wrongly_described(made.format("name")) == ["A"]
    assert misnamed(
        "try: pass\nexcept OSError as one: pass\ndef find(wanted): self._left = [some for some in wanted]"
    ) == [
        (2, "one"),
        (3, "_left"),
        (3, "some"),
        (3, "wanted"),
    ]
    assert not misnamed("def cut(left, top): pass\ngiven(other)")
    assert reaches("a._b.c\nfrom cbir_daemon.store import _d\npatch.setattr(e, '_f', 1)\npatch.setattr('g._h', 1)") == [
        (1, "_b"),
        (2, "_d"),
        (3, "_f"),
        (4, "g._h"),
    ]
    assert replaced_constants("a.setattr(b, 'C_D', 1)\na.setattr('e.F1', 2)\na.setattr(g, 'H', 'I')") == {"C_D", "F1"}
    assert not reaches("self._a = b.__name__\nos._exit(c._replace())\npatch.setattr(d, 'e_', '_')")
