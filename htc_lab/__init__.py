"""HTC Lab: see, toggle and measure the four ideas of Hybrid Task Cascade.

``import htc_lab`` is quick: torch is loaded with the first name that needs it. The names and where each comes
from stand in ``__init__.pyi``, for lazy_loader as for type checkers.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
