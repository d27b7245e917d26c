"""Options of models by short names, which the tests' tables use: ``encoder_layers=2`` for ``encoder={"layers": 2}``."""

SECTIONS = {
    "encoder_type": ("encoder", "kind"),
    "encoder_layers": ("encoder", "layers"),
    "bidirectional": ("encoder", "bidirectional"),
    "decoder_type": ("decoder", "kind"),
    "decoder_layers": ("decoder", "layers"),
    "dilations": ("decoder", "dilations"),
    "variational_dropout": ("decoder", "variational_dropout"),
    "recurrent_dropout": ("decoder", "recurrent_dropout"),
    "skip_connection": ("decoder", "skip_connection"),
    "normalize_means": ("posterior", "normalize_means"),
    "class_temperature": ("posterior", "temperature"),
    "prior_components": ("prior", "components"),
    "attention_type": ("attention", "kind"),
    "latent_type": ("latent", "kind"),
    "prior_type": ("latent", "source_prior"),
    "bag_of_words": ("bag_of_words", "kind"),
    "bag_of_words_hidden": ("bag_of_words", "hidden_size"),
    "bag_of_words_weights": ("bag_of_words", "weights"),
}


def nested(options: dict) -> dict:
    """The options in the sections of a configuration."""
    options = dict(options)
    found: dict = {}
    if options.get("classes"):
        found |= {"posterior": {"kind": "classes"}, "prior": {"kind": "classes"}}
    if not options.get("bag_of_words"):
        options.pop("bag_of_words", None)
    for name, value in options.items():
        if name not in SECTIONS:
            found[name] = value
            continue
        section, key = SECTIONS[name]
        own = found.setdefault(section, {})
        if name == "prior_components" and value is not None:
            own |= {"kind": "mixture", "components": value}
        elif name == "prior_type":
            own[key] = value == "source"
        elif name == "bag_of_words":
            own[key] = "softmax"
        elif name == "bag_of_words_hidden":
            own |= {} if value else {"hidden_size": None}
        elif value is not None:
            own[key] = value
    return found
