"""Real corpora: never part of the project, used where they lie beside it."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("TEXTVAE_DATA", Path(__file__).parents[2] / "shared" / "data")).absolute()


def needs(*folders: str) -> pytest.MarkDecorator:
    """Skips a test where one of the folders is not there."""
    missing = [folder for folder in folders if not (DATA / folder).is_dir()]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)} in {DATA}, or TEXTVAE_DATA")
