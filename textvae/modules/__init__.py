"""The parts of models: plain torch modules whose arguments are numbers or other parts, never a configuration."""
