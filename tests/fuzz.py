"""`make fuzz`: damaged and hostile files, drawn by hypothesis. Each is read as what it is, or refused in one line.

`make fuzz ARGS="600 7"` draws 600 of each kind, from seed 7. What is read is compared with a reader of ten lines that
knows nothing of pandas; nothing may be written, executed or waited for.
"""

import csv
import gzip
import io
import json
import os
import re
import signal
import sys
import tempfile
import zipfile
from collections import Counter
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path

import hypothesis
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from competition.config import Config
from competition.data.constants import PIXELS
from competition.data.digits import read_digits
from competition.data.submission import read_submission
from competition.errors import CompetitionError
from competition.kaggle import leaderboard, provenance
from competition.report.run_page import repeat_command
from competition.runs import history, resuming, schema
from competition.runs.checkpoint import MEMBER_FILES, MemberResult
from competition.runs.folders import Folders
from competition.runs.run import files

PATIENCE = 30  # seconds that one input may take
NUMBER = re.compile(r"\s*[+-]?[\d.]+(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)  # `1.0` and `1e2` are whole numbers too
TOKENS = [
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b'"',
    b",",
    b",,",
    b";",
    b" ",
    b"\t",
    b"-1",
    b"+5",
    b" 7",
    b"007",
    b"1e2",
    b"2.0",
]
TOKENS += [b"0x10", b"1_0", b"256", b"255", b"10", b"9" * 20, b"9" * 5000, b"1e999", b"NaN", b"inf", b"None", b"True"]
TOKENS += ["٣".encode(), "７".encode(), b"\xff", b"\xef\xbb\xbf", b"#", b"'", b"=1+1", b"label", b"pixel7", b"<script>"]
TOKENS += [b"", b"\\", b"PK\x03\x04", b"\x1f\x8b", b"null", b"{}", b"[]", b"[" * 100_000]


@st.composite
def damaged(draw, good: bytes) -> bytes:
    """A file with up to three spans of it cut out, replaced, doubled or flipped, or the file cut off."""
    content = good
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.sampled_from([0, 0, 1, 1, 2, 4, 30, 1000])))
        span = content[start:end]
        piece = draw(st.sampled_from(TOKENS) | st.binary(max_size=4) | st.just(span + span))
        flipped = bytes([span[0] ^ (1 << draw(st.integers(0, 7)))]) + span[1:] if span else b""
        content = content[:start] + draw(st.sampled_from([piece, piece, flipped])) + content[end:]
        content = draw(st.sampled_from([content] * 9 + [content[:start]]))
    return content


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    | st.sampled_from(["<script>alert(1)</script>", "../../etc/passwd", "a\nb", "\ud800", 10**400, -1, 0, 1e308]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


@st.composite
def altered(draw, good: dict) -> bytes:
    """JSON with one value of it replaced, added or taken away; or damaged as text."""
    value = json.loads(json.dumps(good))
    place = value
    while True:
        key = (
            draw(st.sampled_from([*place, "new"])) if isinstance(place, dict) else draw(st.integers(0, len(place) - 1))
        )
        inner = place[key] if key != "new" else None
        if not isinstance(inner, dict | list) or not inner or draw(st.booleans()):
            break
        place = inner
    if key != "new" and draw(st.integers(0, 3)) == 0:
        del place[key]
    else:
        place[key] = draw(ANY)
    text = json.dumps(value).encode()
    return draw(damaged(json.dumps(good).encode())) if draw(st.integers(0, 3)) == 0 else text


class Bench:
    """Good files of every kind in a folder, and for each kind how its damaged ones are read.

    A reader returns whether it read the file; it raises CompetitionError, or returns False where the package
    says a line and goes on without the file.
    """

    def __init__(self, folder: Path):
        self.folder, draw = folder, np.random.default_rng(0)
        self.images = draw.integers(0, 256, (3, 28, 28, 1)).astype(np.uint8)
        self.labels = np.array([3, 0, 9])
        lines = [",".join(map(str, row)) for row in self.images.reshape(3, 784)]
        self.test_csv = "\n".join([",".join(PIXELS), *lines, ""]).encode()
        labelled = [f"{label},{line}" for label, line in zip(self.labels, lines, strict=True)]
        self.train_csv = "\r\n".join([",".join(["label", *PIXELS]), *labelled, ""]).encode()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("train.csv", self.train_csv)
            archive.writestr("test.csv", self.test_csv)
        self.zip = packed.getvalue()
        self.folders = Folders(folder / "input", folder / "submissions")
        self.identity = {
            "settings": asdict(Config()),
            "data": ["a", "b"],
            "precision": "float32",
            "package": "c",
        }
        self.manifest = {
            "identity": self.identity,
            "source": "kaggle",
            "hardware": "2 cores",
            "seconds": {"members": 2.5},
            "commit": None,
        }
        part = {"accuracy": 0.99, "score": 0.99, "low": 0.98, "high": 0.995, "log_loss": 0.03, "errors": 17}
        self.scores = {"out_of_fold": part, "leaderboard": part, "members": {"accuracy": 0.99}}
        with redirect_stdout(io.StringIO()):
            self.run = resuming.open_run(self.folders, Config(), self.manifest)
        even = np.full((2, 3, 10), 0.1, np.float32)
        epoch = {"accuracy": 0.9, "loss": 0.3, "val_accuracy": 0.95, "val_loss": 0.2}
        self.facts = {"seed": 7, "accuracy": 0.75, "seconds": 1.5, "epochs": 1, "kept_epoch": 1, "data_sha256": "a"}
        self.run.store_member("m", MemberResult(even, even, [np.ones((2, 3), np.float32)], [epoch], self.facts))
        self.run.submission_csv.write_bytes(b"ImageId,Label\n1,7\n2,0\n3,9\n")
        history.add(self.folders, history.row_of(self.run, self.scores))
        self.member = self.run.path / "members" / "m"
        self.good = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def kinds(self) -> dict:
        """Of each kind of file: what is drawn, and its reader."""
        member = {name: (self.member / name).read_bytes() for name in MEMBER_FILES}
        names = st.sampled_from([*MEMBER_FILES])
        done = json.loads((self.member / "done.json").read_bytes())
        return {
            "train.csv": (damaged(self.train_csv), self.read_train),
            "test.csv": (damaged(self.test_csv), self.read_test),
            "train.csv.gz": (damaged(gzip.compress(self.train_csv, mtime=0)), self.read_gzip),
            "zip": (damaged(self.zip), self.read_packed),
            "zip, its names": (st.lists(st.sampled_from(NAMES) | st.text(max_size=9), max_size=4), self.read_names),
            "submission.csv": (damaged(self.run.submission_csv.read_bytes()), self.read_submission),
            "config.json": (altered(asdict(Config())), self.read_config),
            "manifest.json": (altered(self.manifest), self.read_manifest),
            "scores.json": (altered(self.scores), self.read_scores),
            "history.csv": (damaged(self.folders.history.read_bytes()), self.read_history),
            "done.json": (altered(done), self.read_done),
            "member's files": (names.flatmap(lambda n: st.tuples(st.just(n), damaged(member[n]))), self.read_member),
            "member's files, signed": (
                names.flatmap(lambda n: st.tuples(st.just(n), damaged(member[n]))), self.read_signed),
            "arrays of any kind, signed": (
                st.tuples(st.sampled_from(["valid.npy", "test.npy", "weights.npz"]), ARRAYS), self.read_arrays),
        }  # fmt: skip

    def read_train(self, content):
        path = self.put(self.folder / "drawn.csv", content)
        return self.same_as_naive(read_digits(path, labelled=True), content, ["label", *PIXELS])

    def read_test(self, content):
        path = self.put(self.folder / "drawn.csv", content)
        return self.same_as_naive(read_digits(path, labelled=False), content, PIXELS)

    def same_as_naive(self, digits, content, names):
        header, *rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")) if row]
        header = [name.strip().lower() for name in header]
        assert sorted(header) == sorted(names), "another header was read"
        assert all(len(row) == len(header) and all(map(NUMBER.fullmatch, row)) for row in rows), "read anyway"
        columns = dict(zip(header, zip(*rows, strict=True), strict=True))
        pixels = np.array([[float(value) for value in columns[name]] for name in PIXELS]).T.reshape(-1, 28, 28, 1)
        assert (digits.images == pixels).all() and digits.images.shape == pixels.shape, "other pixels"
        if "label" in columns:
            assert digits.labels.tolist() == [float(value) for value in columns["label"]], "other labels"
        return True

    def read_gzip(self, content):
        return self.read_packed(content, "drawn.gz")

    def read_packed(self, content, name="drawn.zip"):
        digits = read_digits(self.put(self.folder / name, content), labelled=True)
        # A checksum guards what is inside, so it is what was packed; or the file is no zip any more.
        if not (np.array_equal(digits.images, self.images) and digits.labels.tolist() == self.labels.tolist()):
            self.same_as_naive(digits, content, ["label", *PIXELS])
        return True

    def read_names(self, names):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name in names:
                archive.writestr(zipfile.ZipInfo(name or "x"), self.train_csv)
        digits = read_digits(self.put(self.folder / "drawn.zip", packed.getvalue()), labelled=True)
        escaping = [name for name in names if name[:1] in ("/", "\\") or ".." in name.replace("\\", "/").split("/")]
        assert "train.csv" in names and not escaping
        return np.array_equal(digits.images, self.images)

    def read_submission(self, content):
        read_submission(self.put(self.folder / "drawn.csv", content), rows=3)
        rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")) if row]
        assert rows[0] == ["ImageId", "Label"] and sorted(int(row[0]) for row in rows[1:]) == [1, 2, 3]
        assert all(row[1] in "0123456789" and len(row) == 2 for row in rows[1:])
        return True

    def read_config(self, content):
        self.put(self.run.path / "config.json", content)
        assert asdict(self.run.config) == {**asdict(Config()), **json.loads(content)}
        return True

    def read_manifest(self, content):
        """As resuming, the record, the report and a submission read it."""
        self.put(self.run.path / "manifest.json", content)
        manifest = self.run.manifest
        assert manifest == json.loads(content)
        assert resuming._unfinished(self.folders, manifest["identity"]) == self.run
        assert (resuming._unfinished(self.folders, self.identity) == self.run) == (
            manifest["identity"] == self.identity
        )
        history.row_of(self.run, self.scores)
        assert "\n" not in repeat_command(self.run)
        try:
            provenance.row_of_run(self.folders, self.run)
        except CompetitionError:
            return True
        raise AssertionError("a run on no known data may not be sent")

    def read_scores(self, content):
        self.put(self.run.path / "scores.json", content)
        row = history.row_of(self.run, self.run.read_json("scores.json", schema.SCORES))
        return float(row["oof_accuracy"]) == round(json.loads(content)["out_of_fold"]["accuracy"], 5)

    def read_history(self, content):
        self.put(self.folders.history, content)
        rows = history.read(self.folders)
        leaderboard.table(rows)
        naive = [row for row in csv.reader(io.StringIO(content.decode(), newline="")) if row]
        assert len(rows) == max(0, len(naive) - 1)
        assert all(set(row.values()) >= set(its) for row, its in zip(rows, naive[1:], strict=True))
        return True

    def read_done(self, content):
        self.put(self.member / "done.json", content)
        result = self.run.intact_member("m")
        assert result is None or result.facts == self.facts, "other facts"
        return result is not None

    def read_member(self, drawn):
        name, content = drawn
        self.put(self.member / name, content)
        result = self.run.intact_member("m")
        assert (result is not None) == (content == self.good[self.member / name])
        return result is not None

    def read_signed(self, drawn):
        """Somebody made it up, with the checksum that fits."""
        name, content = drawn
        self.put(self.member / name, content)
        done = json.loads(self.good[self.member / "done.json"])
        done["sha256"][name] = files.sha256_of(self.member / name)
        self.put(self.member / "done.json", json.dumps(done).encode())
        result = self.run.intact_member("m")
        if result is not None:
            assert all(a.dtype == np.float32 and a.shape[::2] == (2, 10) for a in (result.val_probs, result.test_probs))
            assert all(a.dtype.kind in "fiu" for a in result.weights) and len(result.history) == 1
            assert all(np.isfinite(float(value)) for value in result.history[0].values())
        return result is not None

    def read_arrays(self, drawn):
        name, array = drawn
        file = io.BytesIO()
        np.savez(file, w000=array) if name.endswith("npz") else np.save(file, array)
        return self.read_signed((name, file.getvalue()))

    def put(self, path: Path, content: bytes) -> Path:
        path.write_bytes(content)
        self.changed.add(path)
        return path

    def fuzz(self, kind: str, inputs: int, seed: int = 0) -> Counter:
        """Draw so many inputs of a kind; what is neither read nor refused raises.

        Returns:
            How many were `read` and how many `refused`.
        """
        counts, (drawn, reader) = Counter(), self.kinds()[kind]

        @hypothesis.seed(seed)
        @settings(max_examples=inputs, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(drawn)
        def each(one):
            self.changed = set()
            try:
                with redirect_stdout(io.StringIO()), hang(kind):
                    counts["read" if reader(one) else "refused"] += 1
            except CompetitionError as error:
                assert "Received: " in str(error) and "Next: " in str(error) and "\n" not in str(error), str(error)
                counts["refused"] += 1
            finally:
                found = {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
                written = {path for path in found.keys() | self.good.keys() if found.get(path) != self.good.get(path)}
                for path in written:
                    path.unlink(missing_ok=True)
                    if path in self.good:
                        path.write_bytes(self.good[path])
            assert written <= self.changed, f"written: {written - self.changed}"

        each()
        return counts


class Pickled:
    """Whoever unpickles it, notices."""

    def __reduce__(self):
        return (os._exit, (66,))


NAMES = ["train.csv", "train.csv", "test.csv", "../train.csv", "/etc/passwd", "..\\x", "C:\\x", "a/../../b", "a/b.csv"]
ARRAYS = (
    arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(max_dims=4, max_side=4))
    | arrays.arrays(np.float32, st.sampled_from([(2, 3, 10), (2, 0, 10), (2, 1, 10)]),
                    elements=st.sampled_from([0.1, 0.0, np.nan, np.inf, -1.0]))
    | st.just(np.array([Pickled()], object))
)  # fmt: skip


@contextmanager
def hang(kind):
    """Whatever takes too long is one."""

    def raised(*_):
        raise AssertionError(f"a hang while reading {kind}")

    signal.signal(signal.SIGALRM, raised)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)


if __name__ == "__main__":
    inputs, seed, *_ = (*map(int, sys.argv[1:]), *(500, 0)[len(sys.argv) - 1 :])
    total = Counter()
    print(f"{'':28}{'read':>8}{'refused':>9}")
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        for kind in bench.kinds():
            counts = bench.fuzz(kind, inputs, seed)
            total += counts
            print(f"{kind:28}{counts['read']:8d}{counts['refused']:9d}", flush=True)
    print(f"{total.total()} inputs: {total['read']} read as what they are, {total['refused']} refused.")
