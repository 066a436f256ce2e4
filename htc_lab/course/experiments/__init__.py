"""What the lessons measure, one lesson a file: a model and scenes in, plain figures out."""
