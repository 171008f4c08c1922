"""One command per stage of dvc.yaml."""

import sys
from types import TracebackType


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """End in one line what stops the loading of torch, before a command could catch it."""
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        raise SystemExit(130)
    if isinstance(error, MemoryError) or "failed to map segment" in str(error):
        print("error: out of memory while libraries are loaded; free some", file=sys.stderr)
        raise SystemExit(2)
    sys.__excepthook__(kind, error, trace)


sys.excepthook = _told
