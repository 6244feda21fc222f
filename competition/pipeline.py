"""The story of a run: data → folds → members → scores → submission → report. Read this page first."""

import shlex
import time
from dataclasses import asdict

from competition import data, ensemble, history, resuming, runs, scoring
from competition.config import BASELINES, Config, choose_config
from competition.device import Setup, describe
from competition.folders import Folders
from competition.sources import git_commit, sources_sha256
from competition.submission import check_submission, write_submission


def train(
    folders: Folders,
    setup: Setup,
    recipe: str | None = None,
    settings: dict | None = None,
    source: str = "auto",
    jobs: int | None = None,
    new: bool = False,
    tensorboard: bool = False,
    scheduler: str | None = None,
    save_h5: bool = False,
) -> runs.Run:
    """Turn the digits into a checked submission, with a score to believe.

    Args:
        folders: where the data and the runs lie.
        setup: how a process computes.
        recipe: a name in RECIPES; None takes the one that suits the data.
        settings: fields of Config that differ from the recipe's.
        source: which data; see `data.obtain`.
        jobs: how many members train at once; None takes what suits the machine.
        new: start a new run even where an unfinished one of the same could go on.
        tensorboard: also write TensorBoard logs into the run's folder.
        scheduler: of a Dask cluster that trains the members; None trains them on this machine.
        save_h5: also write the best member in Keras's legacy format, as model.h5.

    Returns:
        The complete run.

    Raises:
        CompetitionError: the data or the settings cannot be used.
    """
    clock = Clock()
    engine = ensemble.choose_engine(setup, jobs, scheduler)
    digits = data.load(folders, source)
    config = choose_config(recipe, digits.source, settings or {})
    run = resuming.open_run(folders, config, manifest_of(config, digits, setup), new)
    clock.lap("data")

    count = f"{config.members} member{'s' * (config.members > 1)}"
    print(f"{count} on {digits.source} data, {engine.describe()}, {setup.precision}.")
    members = ensemble.train_members(run, config, setup, digits.train, digits.test, engine, tensorboard)
    data.load_again(folders, run.manifest)  # a file that was replaced meanwhile is noticed before anything is said
    clock.lap("members")

    conclude(folders, run, digits, ensemble.combine(config, digits.train, members), members, clock)
    illustrate(folders, run, digits, save_h5)
    return run


def conclude(
    folders: Folders, run: runs.Run, digits: data.Data, answer: ensemble.Answer, members: list, clock: "Clock"
) -> None:
    """Score an answer, write and check its submission, complete the run, and say all that."""
    scores = ensemble.score(digits.train.labels, answer, members)
    if digits.answers is not None:
        scores["true_accuracy"] = scoring.accuracy(digits.answers, answer.test[answer.variant])
        scores["true_log_loss"] = scoring.log_loss(digits.answers, answer.test[answer.variant])
    run.write_arrays("probabilities.npz", out_of_fold=answer.out_of_fold, test=answer.test)
    run.write_json("scores.json", scores)
    write_submission(run.submission, answer.test[answer.variant].argmax(axis=1))
    warnings = check_submission(run.submission, len(digits.test), digits.train.labels)
    clock.lap("submission")
    history.finish(folders, run, scores, clock.laps)
    print(summary(folders, run, scores, warnings))


def manifest_of(config: Config, digits: data.Data, setup: Setup) -> dict:
    """What a run is made from and on; runs of equal `identity` may go on with each other's members."""
    described = describe(setup)
    return {
        "identity": {
            "settings": runs.settings_of(config),
            "data": [digits.train.sha256, digits.test.sha256],
            "package sources": sources_sha256(),
            "libraries": described["versions"],
            **asdict(setup),
        },
        "source": digits.source,
        "commit": git_commit(),
        **described,
    }


def summary(folders: Folders, run: runs.Run, scores: dict, warnings: list[str]) -> str:
    """What a user wants to read at the end."""
    oof, board = scores["out_of_fold"], scores["leaderboard"]
    lines = [
        "",
        f"Out-of-fold accuracy     {oof['accuracy']:.5f}  (95 % interval {oof['low']:.5f} – {oof['high']:.5f}; "
        f"{oof['errors']} errors), log-loss {oof['log_loss']:.5f}",
        f"  single members (mean)  {scores['members']['accuracy']:.5f}",
        f"Predicted leaderboard    {board['score']:.5f}  ({board['low']:.5f} – {board['high']:.5f})",
    ]
    if "true_accuracy" in scores:
        lines.append(f"True accuracy            {scores['true_accuracy']:.5f}  (test labels, which no member saw)")
    lines += [f"Warning: {warning}" for warning in warnings]
    lines += [f"Submission               {run.submission}"]
    newest = run.config.recipe not in BASELINES and run.path == runs.find_run(folders).path
    submit = "make submit" + f" RUN={shlex.quote(str(run.path))}" * (not newest)  # else another run goes
    following = {"kaggle": submit, "sample": "bring the real data: see the banner above"}
    lines += [f"Next                     {following.get(run.manifest['source'], 'nothing: such data submits nothing')}"]
    return "\n".join(lines)


def illustrate(folders: Folders, run: runs.Run, digits: data.Data, save_h5: bool = False) -> None:
    """Figures, report and model of a complete run; what fails here costs a line, never the submission."""

    def make_report():
        from competition import report  # here: a missing library must not stop the run either

        return report.make_report(folders, run, digits)

    def export_model():
        from competition import predict

        return "  ".join(str(predict.export_model(run, suffix)) for suffix in (".keras", *[".h5"] * save_h5))

    for name, make in (("Report", make_report), ("Model", export_model)):
        try:
            print(f"{name:<24} {make()}")
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"{name:<24} none ({said}); the run itself is complete")


class Clock:
    """Seconds of each stage."""

    def __init__(self):
        self.last, self.laps = time.perf_counter(), {}

    def lap(self, stage: str) -> None:
        """A stage ends here."""
        now = time.perf_counter()
        self.laps[stage], self.last = round(now - self.last, 1), now
