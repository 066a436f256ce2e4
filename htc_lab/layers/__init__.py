"""What the stages are built from.

The numbers of a layer, with their ranges and words, lie in a file of their own beside it (``rpn_config.py``
beside ``rpn.py``), which imports no torch: ``import htc_lab``, a preset and a command's --help need the
numbers alone, and torch takes seconds. For the same reason this file imports nothing.
"""
