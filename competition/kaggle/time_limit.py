"""What a session on Kaggle's machines is given: hours."""

from competition.execution.budget import Budget
from competition.runs.folders import Folders

HOURS = {"CPU": 12, "GPU": 9}  # after which Kaggle ends a session, whatever it has written
MARGIN = 30  # minutes of them: for the notebook around the training, and for members that take longer than the last


def budget_of(folders: Folders, minutes: float | None, gpu: bool, recipe: str | None) -> Budget:
    """What a run may take, from now: as long as was asked, but on Kaggle no longer than a session lasts.

    Raises:
        CompetitionError: `minutes` is no positive number.
    """
    if folders.working is None:
        return Budget(minutes)
    longest = 60 * HOURS["GPU" if gpu else "CPU"] - MARGIN
    slow = not gpu and recipe in ("best", "reference")
    asked = Budget(minutes).minutes or longest
    return Budget(min(asked, longest), " On a CPU, RECIPE=fast is quicker." * slow)
