"""What each command of ``htc-lab`` does, one per file.

The flags are the functions' arguments, the help texts their docstrings. torch and everything built on it is
imported inside the functions, so that --help answers at once.
"""
