"""Imports go one way: each folder imports only from folders above it, each file only from files above it."""

import ast
from pathlib import Path

import pytest

import textvae

ROOT = Path(textvae.__file__).parent
# The folders in the order of CONTRIBUTING.md, with their files in order. Add each new file at its place.
ORDER = """
support.display support.errors support.auto_models support.options support.randomness support.yaml support.seeds
support.files support.program support.processes support.precision support.finite support.held
support.quiet
text.clauses text.morphology text.productions text.parser text.grammar
text.given text.lines text.tables text.reader text.labels text.corpus
text.tokenizer text.statistics text.vocabulary text.blanks text.batches text.chunks text.function_words text.keywords
text.fields text.counts text.samplers
modules.encoders modules.distributions modules.classes modules.posteriors modules.priors modules.decoders
modules.output_layer modules.attention modules.source_encoders modules.attentive_decoder modules.conditional_latents
modules.documents
models.outputs models.configuration models.refinement models.base models.generation models.language models.seq2seq
models.documents models.kinds models.checkpoint
objectives.terms objectives.schedules objectives.rate objectives.elbo
inference.mode inference.bounds inference.proposals inference.vocabulary inference.particles inference.filling
latent_space.paths latent_space.clusters latent_space.semi_supervised latent_space.neighbours
latent_space.fitted_priors latent_space.maps latent_space.linear
evaluation.bleu evaluation.translation evaluation.clustering evaluation.cluster_quality evaluation.quantities
evaluation.meters.sums evaluation.meters.likelihood evaluation.meters.entropy evaluation.meters.characters
evaluation.meters.perplexity evaluation.meters.latent_use evaluation.meters.mutual_information
evaluation.meters.interventions evaluation.meters.accuracy evaluation.meters.reconstruction
evaluation.meters.translation evaluation.meters.sampled evaluation.meters.probe evaluation.meters.topics
evaluation.meters.size evaluation.meters.table
evaluation.diagnosis evaluation.report evaluation.evaluate evaluation.sample_quality
training.speed training.rules training.planner training.trial
training.progress training.clock training.curves training.judged training.plateau training.multiplier
training.aggressive training.prior training.offered training.optimisation training.arguments
training.idle training.requirements training.trainer training.schema
training.automatic training.recipe training.recipes training.stage
training.record training.run_folder training.checks training.run
training.script training.comparison
pictures.cloud pictures.figure pictures.scatter pictures.page pictures.document pictures.confusion pictures.strip
pictures.attention pictures.diversity
interfaces.batching interfaces.encoding interfaces.interface interfaces.readable interfaces.adapters
interfaces.sentence_encoder interfaces.sentence_decoder
interfaces.latent_walks interfaces.text_vae interfaces.translator interfaces.documents interfaces.table
interfaces.vectors interfaces.ray
interfaces.clustering interfaces.embedder
commands.arguments commands.printing commands.train commands.evaluate commands.corpora commands.write commands.latent
commands.encode commands.classify commands.cluster commands.map commands.translate
cli __main__
""".split()
FILES = sorted(path for path in ROOT.rglob("*.py") if path.name != "__init__.py")


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported(source):
    """The package's modules that a file imports, including imports inside functions and for type checks."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # "from textvae.text import batches" imports a file, just like "from textvae.text.batches import x".
            module = "." * node.level + (node.module or "")
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        else:
            continue
        inside = [name.removeprefix("textvae.") for name in names if name.startswith("textvae.")]
        # Relative imports do not name their package, so they are not allowed.
        yield from [name for name in inside if name in ORDER] + [
            name for name in names if name.startswith(".")
        ]


def offences(name, source):
    above = ORDER[: ORDER.index(name)]
    return [file for file in imported(source) if file not in above]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_upwards(path):
    name = name_of(path)
    assert name in ORDER, f"put {name} in its place in ORDER"
    assert not offences(name, path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("text.batches", "from textvae.models.language import TextVAEModel"),
        ("text.reader", "import textvae.text.corpus"),
        ("text.reader", "def f():\n    from textvae.text import corpus"),
        ("modules.distributions", "from .decoders import Cache"),
        ("models.outputs", "from textvae.models.outputs import VAEOutput"),
    ],
)
def test_imports_that_point_downwards_are_found(name, source):
    assert offences(name, source)


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/__init__.py")), ids=lambda path: path.parent.name)
def test_folders_import_nothing(path):
    """Otherwise, importing one file of a folder would import files below it."""
    assert not [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
