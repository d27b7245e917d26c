"""What the documents show exists: links, files, commands with their options, and Python names."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest
import typer

from textvae.cli import app

ROOT = Path(__file__).parents[1]
FOLDERS = ("docs", "data", "examples", "recipes")
PAGES = sorted([*ROOT.glob("*.md"), *(page for name in FOLDERS for page in (ROOT / name).rglob("*.md"))])
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
COMMANDS = {
    name: {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    | {"-h", "--help"}
    for name, command in typer.main.get_command(app).commands.items()
}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4,}(.*)$", re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
LINK = re.compile(r'\]\(([^)\s]+)\)|src="([^"]+)"')
OPTION = re.compile(r"(?<![\w-])--?[a-zA-Z][a-z0-9-]*")
NAME = re.compile(r"textvae(?:\.\w+)+")
FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)+\.(?:py|yaml|md)")


def relative(path):
    return str(path.relative_to(ROOT))


def anchors(page):
    """The anchors that GitHub gives to the headings of a page."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(text, page):
    """The links that lead to no file, or to no heading of it; those to the web are left alone."""
    for link in (a or b for a, b in LINK.findall(FENCE.sub("", text))):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not re.match(r"\w+:", link) and (
            not target.exists() or (anchor and anchor not in anchors(target))
        ):
            yield link


def shell(text):
    """The code of a page that is not Python: blocks and spans, without comments; continued lines are joined."""
    blocks = [code for language, code in FENCE.findall(text) if language != "python"]
    rest = FENCE.sub("", text)
    lines = "\n".join([*blocks, *INDENTED.findall(rest)]).replace("\\\n", " ")
    spans = [" ".join(span.split()) for span in SPAN.findall(INDENTED.sub("", rest))]
    return [re.split(r"\s#", line)[0] for line in [*lines.split("\n"), *spans]]


def unknown_commands(text):
    """The commands of textvae, and their options, that do not exist."""
    for line in shell(text):
        starts = line if line.split(" ")[0] not in COMMANDS else f"textvae {line}"
        for use in re.split(r"(?<![\w./-])textvae (?=[a-z])", starts)[1:]:
            words = re.split(r"[|>;]", use)[0]
            name = words.split()[0]
            if name not in COMMANDS:
                yield f"textvae {name}"
            else:
                yield from (
                    f"textvae {name} {option}"
                    for option in OPTION.findall(re.sub(r"'[^']*'|\"[^\"]*\"", "", words))
                    if option not in COMMANDS[name]
                )


def unknown_options_of_scripts(lines):
    """The options of scripts that no file in the script's folder defines, and scripts that do not exist."""
    for line in lines:
        for script, words in re.findall(r"((?:recipes|examples)/[\w/]+\.py)([^|>;]*)", line):
            path = ROOT / script
            if not path.is_file():
                yield script
                continue
            beside = [*path.parent.glob("*.py"), ROOT / "textvae" / "training" / "script.py"]
            source = "".join(file.read_text(encoding="utf-8") for file in beside)
            bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", words)
            yield from (f"{script} {o}" for o in OPTION.findall(bare) if f'"{o}"' not in source)


def python(text):
    """The Python code of a page: fenced blocks, and the lines of examples in the style of doctest."""
    yield from (code for language, code in FENCE.findall(text) if language == "python")
    yield "\n".join(re.findall(r"^ *>>> (.*)$", text, re.MULTILINE))


def resolves(name):
    """Whether a dotted name of the package is a module, or an attribute of one."""
    parts = name.split(".")
    found, rest = None, parts
    for place in range(1, len(parts) + 1):
        try:
            found, rest = import_module(".".join(parts[:place])), parts[place:]
        except ModuleNotFoundError as error:
            if not f"{error.name}.".startswith("textvae."):
                raise
            break
    for attribute in rest:
        if not hasattr(found, attribute):
            return False
        found = getattr(found, attribute)
    return True


def names_of(code):
    """The names of the package that a piece of Python code uses."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "textvae")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "textvae":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "textvae"
        ):
            yield f"textvae.{node.attr}"


def unknown_names(text):
    """The names of the package, in Python code and in spans, that do not exist."""
    used = {name for code in python(text) for name in names_of(code)}
    used |= {name for span in SPAN.findall(FENCE.sub("", text)) for name in NAME.findall(span)}
    used = {name for name in used if not name.endswith((".md", ".py"))}
    return sorted(name for name in used if not resolves(name))


def unknown_files(text, folder):
    """The files of the repository that spans and commands name, and that do not exist."""
    places = (ROOT, ROOT / "textvae", folder)
    for line in shell(text):
        for file in FILE.findall(line):
            first = file.split("/")[0]
            ours = any((place / first).is_dir() for place in places) and first not in ("runs", "..")
            if ours and not any((place / file).is_file() for place in places):
                yield file


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page):
    assert not list(broken_links(page.read_text(encoding="utf-8"), page))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_commands_and_options_exist(page):
    text = page.read_text(encoding="utf-8")
    assert not [*unknown_commands(text), *unknown_options_of_scripts(shell(text))]


@pytest.mark.parametrize("recipe", RECIPES, ids=relative)
def test_commands_of_recipes_exist(recipe):
    lines = [line for line in recipe.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert not list(unknown_options_of_scripts([line.split("  #")[0] for line in lines]))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_python_compiles_and_names_resolve(page):
    assert not unknown_names(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_files_exist(page):
    assert not list(unknown_files(page.read_text(encoding="utf-8"), page.parent))


def test_the_index_lists_every_page():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = {(ROOT / "docs" / link).resolve() for link, _ in LINK.findall(index)}
    assert linked == {page.resolve() for page in PAGES} - {ROOT / "docs" / "README.md"}


@pytest.mark.parametrize(
    ("find", "text", "found"),
    [
        (lambda text: broken_links(text, ROOT / "README.md"), "[a](docs/none.md) [b](docs/scale.md)", ["docs/none.md"]),
        (lambda text: broken_links(text, ROOT / "README.md"), "[a](docs/scale.md#speed-and-scale) [b](#install)", []),
        (lambda text: broken_links(text, ROOT / "README.md"), "[a](docs/scale.md#none) [b](#none)",
         ["docs/scale.md#none", "#none"]),
        (lambda text: broken_links(text, ROOT / "README.md"), '<img src="none.png"> [b](https://a.b/c)', ["none.png"]),
        (unknown_commands, "    textvae evaluate RUN --samples 5 -h\n", []),
        (unknown_commands, "    textvae sample RUN  textvae encode RUN --sample\n", ["textvae encode --sample"]),
        (unknown_commands, "as `textvae measure RUN` does", ["textvae measure"]),
        (unknown_commands, "`cluster --confuse` draws", ["textvae cluster --confuse"]),
        (unknown_commands, "    textvae map RUN \\\n        --colour x  # --not-this\n", ["textvae map --colour"]),
        (unknown_commands, "    textvae encode RUN | head --lines 5\n", []),
        (unknown_commands, '    textvae analogy RUN "a --b c"\n', []),
        (unknown_names, "```python\nfrom textvae.support.errors import UserError, None_\n```\n",
         ["textvae.support.errors.None_"]),
        (unknown_names, "```python\nimport textvae\ntextvae.TextVAE, textvae.Texts\n```\n", ["textvae.Texts"]),
        (
            unknown_names,
            "    >>> from textvae.interfaces.ray import writes\n",
            ["textvae.interfaces.ray.writes"],
        ),
        (unknown_names, "`textvae.pictures` and `textvae.paintings`", ["textvae.paintings"]),
        (lambda text: unknown_files(text, ROOT), "`modules/encoders.py` `tests/none.py`", ["tests/none.py"]),
        (lambda text: unknown_options_of_scripts(shell(text)), "    python recipes/clustering/none.py",
         ["recipes/clustering/none.py"]),
        (lambda text: unknown_options_of_scripts(shell(text)), "    python examples/vae.py a --epochs 3 --epoch 3",
         ["examples/vae.py --epoch"]),
    ],
)  # fmt: skip
def test_faults_are_found(find, text, found):
    assert list(find(text)) == found


def test_code_that_does_not_compile_is_found():
    with pytest.raises(SyntaxError):
        unknown_names("```python\nfrom textvae import\n```\n")
