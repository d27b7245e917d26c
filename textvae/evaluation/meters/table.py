"""All meters, in the order of the report."""

from __future__ import annotations

from textvae.evaluation.meters.accuracy import Accuracy
from textvae.evaluation.meters.characters import BitsPerCharacter
from textvae.evaluation.meters.entropy import Gap
from textvae.evaluation.meters.interventions import ReplacedLatents
from textvae.evaluation.meters.latent_use import LatentUse
from textvae.evaluation.meters.likelihood import Likelihood
from textvae.evaluation.meters.mutual_information import MutualInformation
from textvae.evaluation.meters.perplexity import Perplexity
from textvae.evaluation.meters.probe import Probe
from textvae.evaluation.meters.reconstruction import Reconstructions
from textvae.evaluation.meters.size import Size
from textvae.evaluation.meters.topics import Topics
from textvae.evaluation.meters.translation import Translation
from textvae.evaluation.quantities import Description, Meter

METERS: dict[str, type[Meter]] = {
    "likelihood": Likelihood,
    "gap": Gap,
    "bits_per_character": BitsPerCharacter,
    "perplexity": Perplexity,
    "latent_use": LatentUse,
    "mutual_information": MutualInformation,
    "replaced_latents": ReplacedLatents,
    "accuracy": Accuracy,
    "reconstructions": Reconstructions,
    "translation": Translation,
    "probe": Probe,
    "topics": Topics,
    "size": Size,
}
"""The meters by name; recipes give options under this name."""


def descriptions() -> dict[str, Description]:
    """The descriptions of all quantities that an evaluation may measure, by name."""
    return {each.name: each for meter in METERS.values() for each in meter.describes}
