"""One file of a task's script and the parts that it takes in, which runs without this package."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"
_PART = re.compile(r"^from kd_lightning\.deploy\.scripts\.(\w+) import .*$", re.MULTILINE)


def script(task: str) -> str:
    """The script that runs a network of a task, as text.

    Args:
        task: "keyword", "recognition", "synthesis" or "vocoding".
    """
    names = list(dict.fromkeys(_with_parts(task)))
    imports: set[str] = set()
    bodies = []
    for name in names:
        found, body = _taken_apart(name)
        imports |= found
        bodies.append(body)
    documentation = ast.get_docstring(ast.parse(_source(task)), clean=False)
    grouped = ["\n".join(sorted(group, key=_order)) for group in _by_origin(imports)]
    code = "\n\n\n".join(bodies)
    return (
        "\n\n".join([f'"""{documentation}"""', *grouped, f"\n{code}" if code.startswith("def ") else code])
        + "\n"
    )


def _with_parts(name: str) -> Iterator[str]:
    """The parts that a script needs, each before those that need it, and its own name last."""
    for part in _PART.findall(_source(name)):
        yield from _with_parts(part)
    yield name


def _taken_apart(name: str) -> tuple[set[str], str]:
    """The imports of others' code, a line each, and all that follows them."""
    source = _source(name)
    top = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    imports = {ast.unparse(node) for node in top}
    end = top[-1].end_lineno
    return {line for line in imports if not _PART.match(line)}, "\n".join(source.splitlines()[end:]).strip()


def _by_origin(imports: set[str]) -> list[list[str]]:
    """Python's own, then those of packages."""
    own = [line for line in imports if re.split("[ .]", line)[1] in sys.stdlib_module_names]
    return [own, sorted(imports.difference(own))]


def _order(line: str) -> tuple[bool, str]:
    return line.startswith("from"), line


def _source(name: str) -> str:
    return (SCRIPTS / f"{name}.py").read_text(encoding="utf-8")
