"""The facade photographs: real streets with windows, cars and shops, from their public original.

``original`` downloads and verifies it, ``split`` decides what is for training, and ``made`` writes the folder
that the lab reads.
"""
