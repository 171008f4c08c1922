"""pairsynth: novel pairs of image and caption from a captioned picture set.

The complete, working form of Xie and Bao, *Synthesizing Novel Pairs of Image and Text*
(arXiv 1712.06682).
"""
