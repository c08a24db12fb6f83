"""Tools: what a model may do. ``<name>.md`` beside ``<name>.py`` is what the model is told."""
