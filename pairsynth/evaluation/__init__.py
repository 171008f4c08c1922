"""Evaluation of captions, images, pairs, cycles and use; the judge that measures them."""
