"""Train a sentence VAE, or a language model, and measure it.

python recipes/language_model/train.py recipes/language_model/ptb.yaml training.max_steps=100
"""

from textvae.training.script import train

if __name__ == "__main__":
    train("Train a sentence VAE, or a language model, and measure it.")
