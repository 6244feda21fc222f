"""What the command line does: a function for each Makefile target that runs the package; each imports what it needs."""

import time
from dataclasses import fields, replace

from competition.config import RECIPES, Config
from competition.errors import CompetitionError
from competition.runs.folders import Folders


def chosen_settings(options) -> dict:
    """The flags that are fields of Config; None where the recipe decides."""
    return _of(options, (field.name for field in fields(Config) if field.name != "recipe"))


def _of(options, names) -> dict:
    return {name: getattr(options, name) for name in names}


def data(options, folders: Folders) -> None:
    """find or download the data, and check every value."""
    from competition.data import dataset_shift
    from competition.data.dataset import load_dataset, remarks
    from competition.data.inputs import find_files
    from competition.kaggle.download import fetch_missing

    started = time.perf_counter()
    fetch_missing(folders, options.source)
    dataset = load_dataset(folders, options.source)
    counts = f"{len(dataset.train)} training and {len(dataset.test)} test digits"
    print(f"{counts}, checked in {time.perf_counter() - started:.1f} s. Source: {dataset.source}.")
    if options.source in ("auto", "kaggle") and (found := find_files(folders.input)):
        print("Read from", " and ".join(dict.fromkeys(map(str, found))) + ".")
    print("".join(f"Warning: {remark}.\n" for remark in remarks(dataset)), end="")
    unlike = dataset_shift.warning(dataset.train, dataset.test.images)
    print(f"Warning: {unlike}" if unlike else "By their pixels, test.csv is like train.csv.")


def train(options, folders: Folders) -> None:
    """train the ensemble and write a submission."""
    from competition import pipeline
    from competition.ensemble.manifest import setup_of
    from competition.network.device import choose_setup
    from competition.runs.resuming import settings_again

    where = _of(options, ("jobs", "new", "tensorboard", "scheduler", "save_h5", "minutes"))
    if options.run is None:
        setup = choose_setup(options.precision, options.jit_compile, options.threads, options.deterministic)
        pipeline.train(folders, setup, options.recipe, chosen_settings(options), options.source, **where)
        return
    settings = {"recipe": options.recipe, "new": options.new or None, **chosen_settings(options)}
    usual = {"threads": None, "precision": "auto", "jit_compile": "auto", "deterministic": True, "source": "auto"}
    given = [name for name, value in settings.items() if value is not None]
    given += [name for name, value in usual.items() if getattr(options, name) != value]
    run, settings, source = settings_again(folders, options.run, given)
    folders = replace(folders, submissions=run.path.parent)
    recipe = settings["recipe"] if settings.get("recipe") in RECIPES else None
    pipeline.train(folders, setup_of(run), recipe, settings, source, named=run, **where)


def baselines(options, folders: Folders) -> None:
    """train six classic systems, and print them beside our `fast` of the record."""
    from competition.kaggle.download import fetch_missing
    from competition.studies.baselines import write_table

    fetch_missing(folders)
    names = ("source", "jobs", "reference", "minutes")
    print(write_table(folders, chosen_settings(options), **_of(options, names)))


def blend(options, folders: Folders) -> None:
    """average finished runs on the same data into a new one."""
    from competition import pipeline

    pipeline.blend(folders, options.runs.split(","))


def study(options, folders: Folders) -> None:
    """compare changes of a recipe: better, worse or not significant."""
    from competition.studies.averages import run_averages
    from competition.studies.learning_curve import run_learning_curve
    from competition.studies.study import run_study

    if options.kind == "rows":
        run_learning_curve(folders, **_of(options, ("base", "seeds", "name", "source", "jobs", "scheduler")))
    elif options.kind == "averages":
        run_averages(folders, **_of(options, ("base", "changes", "name", "source", "jobs", "scheduler")))
    else:
        names = ("base", "changes", "seeds", "full", "name", "source", "jobs", "scheduler")
        run_study(folders, **_of(options, names))


def coverage(options, folders: Folders) -> None:
    """simulate competitions out of train.csv, and tell how often the predicted interval held."""
    from competition.studies.coverage import run_coverage
    from competition.studies.shift_detection import run_shift

    if options.shift:
        return print(run_shift(folders))
    print(run_coverage(folders, **_of(options, ("count", "seed", "jobs"))))


def kernel(options, folders: Folders) -> None:
    """pack the package into a Kaggle kernel: with a recipe to train there, or with a run's weights to predict."""
    from competition.kaggle import client, kernel_run
    from competition.kaggle.kernel import dataset_beside, pack, pack_inference
    from competition.kaggle.notebook import unpack
    from competition.runs.run import find_run

    if options.unpack:
        return print(*unpack(options.unpack, options.into or options.unpack.parent / "unpacked"), sep="\n")
    if options.follow:
        return kernel_run.follow_pushed(folders)
    owner = options.username or client.username()
    folder = options.into or folders.submissions / f"kernel-{'inference-' if options.run else ''}{options.kind}"
    how = _of(options, ("kind", "title", "public"))
    run = find_run(folders, options.run) if options.run else None
    if run:
        pack_inference(folders, folder, owner, run, accelerator=options.gpu or "none", **how)
    else:
        settings = chosen_settings(options)
        pack(folder, owner, options.recipe, settings, minutes=options.minutes, accelerator=options.gpu or "t4", **how)
    print(*filter(None, (folder, dataset_beside(folder))), sep="\n")
    if options.push:
        kernel_run.run_on_kaggle(folders, folder, run.name if run else "")


def notebook(options, folders: Folders) -> None:
    """execute the walk-through of a run, into the run's folder; where there is no run, one is trained."""
    from competition.kaggle.notebook import execute
    from competition.runs.run import find_run, list_runs

    if options.run or any(run.complete for run in list_runs(folders)):
        run = find_run(folders, options.run)
    else:
        from competition import pipeline
        from competition.network.device import choose_setup

        run = pipeline.train(folders, choose_setup())
    print(execute(folders, run))


def check(options, folders: Folders) -> None:
    """check a submission the way Kaggle would."""
    from competition.data.dataset import known_labels
    from competition.data.submission import compare_with_run, verdict_on

    verdict = verdict_on(options.file, train_labels=known_labels(folders))
    if verdict.refused:
        raise verdict.refused
    lines = [f"{options.file}: {verdict}.", *(f"Warning: {warning}." for warning in verdict.warnings)]
    if verdict.labels is not None:
        lines += compare_with_run(folders, options.file, verdict.labels)
    print("\n".join(lines))


def submit(options, folders: Folders) -> None:
    """send a complete run to Kaggle and wait for its score."""
    from competition.kaggle import leaderboard
    from competition.report.index import make_index

    leaderboard.submit(folders, options.run, options.file, options.force, options.wait)
    make_index(folders)


def scores(options, folders: Folders) -> None:
    """ask Kaggle for all scores: predicted against real."""
    from competition.kaggle import leaderboard
    from competition.report.index import make_index

    print(leaderboard.table(leaderboard.refresh(folders)))
    make_index(folders)


def report(options, folders: Folders) -> None:
    """make a run's report.html, or compare two runs; and the page of all runs."""
    from competition.data.dataset import load_dataset_of
    from competition.report.comparison import make_comparison
    from competition.report.index import make_index
    from competition.report.run_page import make_report
    from competition.runs.run import find_run

    if options.compare:
        if options.compare.count(",") != 1:
            raise CompetitionError(f"COMPARE takes two runs. Received: {options.compare}. Next: COMPARE=run-a,run-b.")
        first, second = (find_run(folders, name) for name in options.compare.split(","))
        print(make_comparison(folders, first, second, load_dataset_of(folders, first.manifest)))
    else:
        run = find_run(folders, options.run)
        print(make_report(folders, run, load_dataset_of(folders, run.manifest)))
    if page := make_index(folders):  # none, where all that is compared lies elsewhere
        print(page)


def predict(options, folders: Folders) -> None:
    """label a test-format CSV or pictures of single digits."""
    from competition.ensemble.predict import print_predictions

    print_predictions(folders, options.run, options.images, options.model)


def export(options, folders: Folders) -> None:
    """write a run's best network in a format for other programs."""
    from competition.ensemble.export import export_as
    from competition.runs.run import find_run

    print(export_as(find_run(folders, options.run), options.format))


def draw(options, folders: Folders) -> None:
    """open a page to draw digits on, beside what a run predicts."""
    from competition.report.draw_server import serve

    serve(folders, options.run, options.port, options.browser)


def share(options, folders: Folders) -> None:
    """write a page in which one of a run's networks predicts what is drawn: a single file that needs no server."""
    from competition.report.share import make_share
    from competition.runs.run import find_run

    print(make_share(folders, find_run(folders, options.run)))


def record(options, folders: Folders) -> None:
    """copy a run's row of history.csv into the committed record."""
    from competition.runs import history

    row = history.record(folders, options.run, options.remark)
    print(f"{folders.record}: {row['run']} is recorded.")
