"""The story of a run: data → folds → members → scores → submission → report. Read this page first."""

import shlex
import time

from competition.config import choose_config
from competition.data import dataset_shift
from competition.data.dataset import Dataset, load_dataset, load_dataset_of
from competition.data.submission import Verdict, verdict_on, write_submission
from competition.ensemble import prediction_shift, scoring
from competition.ensemble.averaging import Predictions, average_members, score
from competition.ensemble.blend import blend as average
from competition.ensemble.folds import check_rows
from competition.ensemble.manifest import manifest_of
from competition.ensemble.members import fix_threads, train_members
from competition.execution.engines import choose_engine
from competition.kaggle.download import fetch_missing
from competition.kaggle.kernel import budget_of
from competition.network.device import Setup, gpus
from competition.runs import history, resuming
from competition.runs.checkpoint import MemberResult
from competition.runs.folders import Folders, shown
from competition.runs.run import Run, find_run


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
    minutes: float | None = None,
    named: Run | None = None,
) -> Run:
    """Turn the digits into a checked submission, with a score to believe.

    Args:
        folders: where the data and the runs lie.
        setup: how a process computes.
        recipe: a name in RECIPES; None takes the one that suits the data.
        settings: fields of Config that differ from the recipe's.
        source: which data; see `load_dataset`.
        jobs: how many members train at once; None takes what suits the machine.
        new: start a new run even where an unfinished one could go on.
        tensorboard: also write TensorBoard logs into the run's folder.
        scheduler: of a Dask cluster that trains the members; None trains them on this machine.
        save_h5: also write the best member in Keras's legacy format, as model.h5.
        minutes: time limit. The members that fit, at least one, make a whole submission; the same again with a larger
            limit goes on with that run. None: all members, on Kaggle those that fit into a session.
        named: a run to resume or repair, whose setup and settings these are.

    Returns:
        The complete run.

    Raises:
        CompetitionError: the data, the settings or the machine cannot be used, or a member does not learn.
    """
    clock, budget = Clock(), budget_of(folders, minutes, bool(gpus()), recipe)
    engine = choose_engine(jobs, scheduler, tensorboard)
    fetch_missing(folders, source)
    dataset = load_dataset(folders, source)
    if unlike := dataset_shift.warning(dataset.train, dataset.test.images):
        print(f"Warning: {unlike}")
    config = choose_config(recipe, dataset.source, settings or {})
    check_rows(config, dataset.train.labels)
    run = resuming.open_run(folders, config, manifest_of(config, dataset, setup), new, named)
    setup = fix_threads(run, config, setup, engine)
    clock.lap("data")

    count = "1 member" if config.members == 1 else f"{config.members} members"
    limit = "" if budget.minutes is None else f", those that fit into {budget.minutes:g} minutes"
    print(f"{count} on {dataset.source} data{limit}, {setup.describe()},\n{engine.describe()}.")
    results = train_members(run, config, setup, dataset.train, dataset.test, engine, tensorboard, budget)
    load_dataset_of(folders, run.manifest)  # a file that was replaced meanwhile is noticed before anything is written
    clock.lap("members")

    conclude(folders, run, dataset, average_members(config, dataset.train, results), results, config.members, clock)
    illustrate(folders, run, dataset, save_h5)
    return run


def conclude(
    folders: Folders,
    run: Run,
    dataset: Dataset,
    predictions: Predictions,
    results: dict[str, MemberResult],
    planned: int,
    clock: "Clock",
) -> None:
    """Score the predictions, write and check the submission, complete the run, and print all that."""
    scores = score(dataset.train.labels, predictions, results, planned)
    test_probs = predictions.test[predictions.submitted]
    if dataset.test_labels is not None:
        scores["true_accuracy"] = scoring.accuracy(dataset.test_labels, test_probs)
        scores["true_log_loss"] = scoring.log_loss(dataset.test_labels, test_probs)
    found = scores["shift"] = prediction_shift.check(dataset.train, dataset.test.images, predictions.single)
    if found["alarm"]:  # the prediction assumes that both files are drawn alike
        found["if_alike"], scores["leaderboard"] = scores["leaderboard"], None
    run.withdraw()
    run.write_arrays("probabilities.npz", out_of_fold=predictions.out_of_fold, test=predictions.test)
    run.write_json("scores.json", scores)
    write_submission(run.submission_csv, test_probs.argmax(axis=1))
    verdict = verdict_on(run.submission_csv, dataset.source, len(dataset.test), dataset.train.labels)
    if verdict.refused:
        raise verdict.refused
    clock.lap("submission")
    history.finish(folders, run, scores, clock.laps, list(results) if len(results) < planned else None)
    print(summary(folders, run, scores, verdict))


def summary(folders: Folders, run: Run, scores: dict, verdict: Verdict) -> str:
    """What a user wants to read at the end."""
    oof, board = scores["out_of_fold"], scores["leaderboard"]
    lines = [
        "",
        f"Out-of-fold accuracy     {oof['accuracy']:.5f}  (95 % interval {oof['low']:.5f} – {oof['high']:.5f}; "
        f"{oof['errors']} errors)",
        f"  log-loss               {oof['log_loss']:.5f}",
        f"  single members (mean)  {scores['members']['accuracy']:.5f}",
    ]
    if board:
        lines.append(f"Predicted leaderboard    {board['score']:.5f}  ({board['low']:.5f} – {board['high']:.5f})")
    else:
        lines += [f"{name:<24} {text}" for name, text in prediction_shift.in_words(scores["shift"])]
    if run.config.refit:
        lines.append(f"Networks                 {who_is_submitted(scores)}")
    if part := history.part_of(scores):
        lines[1:1] = [f"Trained                  {part}, which validate on {oof['rows']} training rows",
                      "                         (the same command with more MINUTES, or none, goes on)"]  # fmt: skip
    if "true_accuracy" in scores:
        lines.append(f"True accuracy            {scores['true_accuracy']:.5f}  (test labels, which no member saw)")
    lines += [f"Warning: {warning}" for warning in verdict.warnings]
    lines += [f"Submission               {shown(run.submission_csv)}", f"                         {verdict.kind}"]
    newest = folders.submissions == Folders.find().submissions and run.path == find_run(folders).path
    submit = "make submit" if newest else f"make submit RUN={shlex.quote(str(run.path))}"
    if folders.working:
        submit = "Submit to Competition, on the Output tab of this kernel's page"
    submit = submit if board else "`make data`, which says where test.csv differs from train.csv"
    following = {"kaggle": submit, "sample": "bring the real data: see the banner above"}
    lines += [f"Next                     {following.get(run.manifest['source'], 'nothing: such data submits nothing')}"]
    return "\n".join(lines)


def who_is_submitted(scores: dict) -> str:
    """Which networks score and which are submitted, in a sentence; of the scores of a recipe with refit members."""
    refit = scores["members"].get("refit", 0)
    if not refit:
        return "those of the folds score and are submitted: no time was left to fit all rows"
    return f"those of the folds score; submitted is their average with {refit} fit on all rows"


def illustrate(folders: Folders, run: Run, dataset: Dataset, save_h5: bool = False) -> None:
    """Figures, report and model of a complete run; what fails here costs a line, never the submission."""

    def make_report():
        from competition.report.run_page import make_report  # here: a missing library must not stop the run either

        return shown(make_report(folders, run, dataset))

    def export_model():
        from competition.ensemble.export import export_model

        return "  ".join(
            str(shown(export_model(run, suffix))) for suffix in ((".keras", ".h5") if save_h5 else (".keras",))
        )

    _attempt("Report", make_report)
    _attempt("Model", export_model)
    list_again(folders)


def list_again(folders: Folders) -> None:
    """Make the page of all runs anew."""

    def make_index():
        from competition.report.index import make_index

        return (page := make_index(folders)) and shown(page)

    _attempt("All runs", make_index)


def _attempt(name: str, make) -> None:
    """Make a file and print its path; what fails costs this line."""
    try:
        print(f"{name:<24} {make()}")
    except Exception as error:
        received = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"{name:<24} none ({received}); the run itself is complete")


class Clock:
    """Seconds of each stage."""

    def __init__(self):
        self.last, self.laps = time.perf_counter(), {}

    def lap(self, stage: str) -> None:
        """A stage ends here."""
        now = time.perf_counter()
        self.laps[stage], self.last = round(now - self.last, 1), now


def blend(folders: Folders, names: list[str]) -> Run:
    """Average finished runs on the same data into a new one, see `ensemble.blend`.

    Raises:
        CompetitionError: they cannot be blended.
    """
    clock = Clock()
    parents = [find_run(folders, name) for name in names]
    dataset = load_dataset_of(folders, parents[0].manifest)
    blended = average(parents, dataset)
    run = resuming.open_run(folders, blended.config, blended.manifest, new=True)
    conclude(folders, run, dataset, blended.predictions, blended.results, len(blended.results), clock)
    list_again(folders)
    print(f"Compare it               make report COMPARE={run.name},{parents[0].name}")
    return run
