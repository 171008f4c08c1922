"""pairsynth: novel pairs of image and caption from a captioned image set.

The complete, working form of Xie and Bao, *Synthesizing Novel Pairs of Image and Text*
(arXiv 1712.06682).
"""

import os

# Without it cuBLAS has no repeatable matrix product; read when CUDA starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
