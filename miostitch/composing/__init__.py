"""One frame out of all receivers' flawed copies of it, buffer by buffer.

``copies`` brings the copies of a block together and learns from some of all, ``composition``
decides. Other rooms use ``copies.learn``, ``copies.plan_copies`` and ``copies.compose``.
"""
