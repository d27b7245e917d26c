"""Real corpora, which are not part of the project; tests use them if they are in a folder beside it."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("TEXTVAE_DATA", Path(__file__).parents[2] / "shared" / "data")).absolute()


def needs(*folders: str) -> pytest.MarkDecorator:
    """Skips a test if one of the folders is missing."""
    missing = [folder for folder in folders if not (DATA / folder).is_dir()]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)} in {DATA}, or TEXTVAE_DATA")
