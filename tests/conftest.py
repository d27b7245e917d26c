import os

# Before any library reads it: no test may ask the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
import torch

# Products this small lose by being split.
torch.set_num_threads(1)
# Warnings are errors here, and torch gives many of its own only once a process: which test fails must not
# hang on the order.
torch.set_warn_always(True)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, whichever ran before it."""
    torch.manual_seed(0)
