"""A study as it is analysed: its records, and its question read into typed settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.config.config import Config
from src.records.study import read_study
from src.records.trial import TrialRecord


@dataclass(frozen=True)
class Study:
    """A study's records, as far as it has got.

    Attributes:
        config: The study's question.
        header: The content of study.json: data, versions, machine, sizes of the networks.
        trials: The finished trials, in the order of results.csv.
        unfinished: Names of the trials that were begun and are not finished.
    """

    config: Config
    header: dict[str, Any]
    trials: tuple[TrialRecord, ...]
    unfinished: tuple[str, ...] = ()

    @property
    def trained_on(self) -> str:
        """The data set, and the part of it that all arms train on, as `cifar10 (5,000 images)`."""
        parts = []
        for kind, field in (
            ("images", "train_images"),
            ("labels", "labels"),
            ("images held out", "validation_images"),
        ):
            counts = {getattr(arm.settings, field) for arm in self.config.arms}
            parts += [f"{count:,} {kind}" for count in counts if count and len(counts) == 1]
        return f"{self.header['dataset']} ({', '.join(parts)})" if parts else self.header["dataset"]


def load_study(study_dir: Path) -> Study:
    """Reads and verifies all records of a study.

    Raises:
        RecordError: If one is damaged.
        ConfigError: If this code cannot read its question.
    """
    record = read_study(study_dir)
    config = Config.read(record.header["config"])
    return Study(config, record.header, record.trials, record.unfinished)
