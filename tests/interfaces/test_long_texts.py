"""Methods that need the probability of a whole text refuse texts over the maximum length."""

import numpy as np
import pytest
import tiny

from textvae.interfaces.text_vae import LONGEST, TextVAE
from textvae.support.errors import UserError

LONG = "a b c d " * (LONGEST // 4) + "e"
CALLS = {
    "log_likelihood": lambda vae, text: vae.log_likelihood([text], 1),
    "score": lambda vae, text: vae.score([text], np.zeros((1, 3))),
    "fill": lambda vae, text: vae.fill(f"{text} ___", particles=2),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_needs_a_whole_text_refuses_long_ones(call):
    vae = TextVAE(tiny.model(), tiny.tokenizer())
    with pytest.raises(
        UserError, match=r"expected texts of at most 65,536 tokens, .*, got one of 65,53[78]: cut it"
    ):
        CALLS[call](vae, LONG)
