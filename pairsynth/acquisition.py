"""From a source to checked, split, resized pictures in shards."""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

from pairsynth import doors
from pairsynth.artifacts import PICTURES, ShardWriter
from pairsynth.errors import InputError
from pairsynth.images import encode, fit, stored_size
from pairsynth.sources.contract import SPLITS, Account, DownloadConfig, Example
from pairsynth.sources.folder import folder
from pairsynth.sources.garden import garden
from pairsynth.sources.oxford102 import oxford102
from pairsynth.sources.contract import Source

SOURCES: Mapping[str, Source] = {"garden": garden, "oxford102": oxford102, "folder": folder}

SHOWN = 20


@dataclass(frozen=True)
class Acquisition:
    """What was kept and what was refused."""

    figures: dict[str, Any]
    account: Account

    @property
    def kept(self) -> int:
        """Pictures written."""
        return sum(self.figures[f"{split}_pictures"] for split in SPLITS)

    def account_lines(self) -> list[str]:
        """What was read and what was refused, in words."""
        refused = self.account.refused
        lines = [f"kept {self.kept:,} pictures, refused {len(refused):,} items"]
        lines += [f"  refused {what}: {why}" for what, why in refused[:SHOWN]]
        if len(refused) > SHOWN:
            lines.append(f"  ... and {len(refused) - SHOWN:,} more")
        return lines
