"""No heavy library is imported before it is needed, so that help and errors are shown at once."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "sklearn",
    "pandas",
    "numpy",
    "matplotlib",
    "tokenizers",
    "rich",
}

# The last line of a program's standard error lists what was imported.
REPORT = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
"""

RUN = """
import runpy
sys.argv = ["textvae", *{arguments!r}]
runpy.run_module("textvae", run_name="__main__", alter_sys=True)
"""


def imported(source):
    """The packages that a program had imported when it ended, and its exit code."""
    result = subprocess.run(
        [sys.executable, "-c", REPORT + source], capture_output=True, text=True, timeout=300, check=False
    )
    modules = json.loads(result.stderr.splitlines()[-1])
    return {module.split(".")[0] for module in modules}, result.returncode


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        ([], 2),
        (["train", "--help"], 0),
        (["smaple"], 2),
        (["--no-such-option"], 2),
        (["sample"], 2),
        (["sample", "run", "-n", "none"], 2),
        (["train", "my.txt", "--minute", "1"], 2),
        (["cluster", "run", "my.txt", "--no-such-option"], 2),
    ],
)
def test_help_and_mistyped_commands_import_nothing_heavy(arguments, code):
    packages, ended = imported(RUN.format(arguments=arguments))
    assert ended == code
    assert not packages & HEAVY


@pytest.mark.parametrize(
    "source", ["import textvae", "from textvae import UserError", "import textvae; dir(textvae)"]
)
def test_the_package_imports_nothing_heavy(source):
    packages, ended = imported(source)
    assert (ended, "textvae" in packages) == (0, True)
    assert not packages & HEAVY


@pytest.mark.slow
@pytest.mark.parametrize(
    "order",
    [
        "import textvae; from transformers import GenerationMixin, AutoModel, AutoConfig",
        "from transformers import AutoConfig, AutoModel; import textvae",
    ],
)
def test_automatic_classes_know_the_models(tmp_path, order):
    types = ["textvae", "textvae-seq2seq"]
    for name in types:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": name}))
    source = f"""
{order}
found = [AutoConfig.from_pretrained({str(tmp_path)!r} + "/" + name) for name in {types}]
assert [config.model_type for config in found] == {types}
assert all(type(config) in AutoModel._model_mapping for config in found)
"""
    assert imported(source)[1] == 0
