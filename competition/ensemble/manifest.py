"""What a run is made from and on."""

from dataclasses import asdict

from competition.config import Config
from competition.data.dataset import Dataset
from competition.network.device import Setup, describe
from competition.runs.run import settings_of
from competition.runs.version import git_commit, package_sha256


def manifest_of(config: Config, dataset: Dataset, setup: Setup) -> dict:
    """A run's manifest; runs of equal `identity` may go on with each other's members."""
    described = describe(setup)
    return {
        "identity": {
            "settings": settings_of(config),
            "data": [dataset.train.sha256, dataset.test.sha256],
            "package": package_sha256(),
            "libraries": described["versions"],
            **asdict(setup),
        },
        "source": dataset.source,
        "commit": git_commit(),
        **described,
    }
