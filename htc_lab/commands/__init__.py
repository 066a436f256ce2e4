"""What each command of ``htc-lab`` does, one a file.

Flags are the functions' arguments, help texts their docstrings. torch and everything built on it is imported
inside the functions, so that --help answers at once.
"""
