"""Train a translation model, with or without z, and measure it.

python recipes/translation/train.py recipes/translation/grammar.yaml training.max_steps=100
"""

from textvae.training.script import train

if __name__ == "__main__":
    train("Train a translation model, with or without z, and measure it.")
