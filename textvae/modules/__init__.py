"""Parts of models: plain modules that are given numbers or parts, never a configuration."""
