"""HTC Lab: see, toggle and measure the four ideas of Hybrid Task Cascade.

``import htc_lab`` is quick: torch is loaded with the first name that needs it. ``__init__.pyi`` lists the
names and where each comes from, for lazy_loader and for type checkers.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
