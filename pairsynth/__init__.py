"""pairsynth: novel pairs of image and caption from a captioned picture set.

The complete, working form of Xie and Bao, *Synthesizing Novel Pairs of Image and Text*
(arXiv 1712.06682).
"""

import os

# Threads that wait busily for one another waste a core that other work on the machine could use.
# OpenMP reads this once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
