"""What a run is made from and on."""

from dataclasses import asdict

from competition.config import Config
from competition.data.dataset import Dataset
from competition.errors import CompetitionError
from competition.network.device import PRECISIONS, Setup, hardware, versions
from competition.runs.run import Run, settings_of
from competition.runs.version import git_commit, package_sha256


def manifest_of(config: Config, dataset: Dataset, setup: Setup) -> dict:
    """A run's manifest; a run may go on with members of the same `identity`.

    Threads that are not chosen yet are left out, so that any number matches.
    """
    return {
        "identity": {
            "settings": settings_of(config),
            "data": [dataset.train.sha256, dataset.test.sha256],
            "package": package_sha256(),
            "libraries": versions(),
            **{name: value for name, value in asdict(setup).items() if value is not None},
        },
        "source": dataset.source,
        "commit": git_commit(),
        "hardware": hardware(),
        "versions": versions(),
    }


def setup_of(run: Run) -> Setup:
    """How a run's processes compute, as its manifest has it.

    Raises:
        CompetitionError: the manifest is damaged.
    """
    identity = run.manifest.get("identity", {})
    if identity.get("precision") not in PRECISIONS:
        raise CompetitionError(
            f"{run.path}/manifest.json must name a precision. Received: {identity.get('precision')}. "
            "Next: `make train NEW=1`."
        )
    threads = identity.get("threads")
    return Setup(
        precision=identity["precision"],
        jit_compile=identity.get("jit_compile") is True,
        threads=threads if type(threads) is int else None,
        deterministic=identity.get("deterministic") is not False,
    )
