"""What Kaggle's command line prints for the stand-in server's answers, as captured from 2.2.4 and 2.2.5.

It takes a process of seconds for each call; with this in its place the tests of what is done with its output are fast.
Marked slow, the same tests run with the real ones.
"""

import csv
import io
import json
import re
import subprocess
from http import HTTPStatus
from pathlib import Path

from kagglesdk.competitions.types.submission_status import SubmissionStatus
from kagglesdk.kernels.types.kernels_enums import KernelWorkerStatus

from competition.kaggle.failures import explain

LOST = (
    "HTTPConnectionPool(host='127.0.0.1', port=9): Max retries exceeded with url: http://localhost/api/v1 (Caused by "
    "ProxyError('Unable to connect to proxy', RemoteDisconnected('Remote end closed connection without response')))"
)
UNEXPECTED = """
If this is unexpected, you can re-run with `kaggle --debug [command]` to see the full
traceback. If you think this is a bug, please report it at https://github.com/Kaggle/kaggle-cli/issues
"""
HINTS = {
    429: "\n\nYou have been rate limited. Wait a little while before retrying.",
    500: "\n\nThis is a problem on Kaggle's side, not with your command. Please try again later.",
}


class Printed:
    """In place of `run_kaggle`."""

    def __init__(self, server):
        self.server = server

    def __call__(self, *arguments, **_):
        words = [word for word in arguments if not word.startswith("-")]
        return getattr(self, "_".join(words[:2] if words[0] != "quota" else words[:1]).replace("-", "_"))(arguments)

    def call(self, method, body=None):
        """What the server answers; the error that the command line makes of a failure."""
        self.server.requests.append((method, body or {}, {}))
        self.server.watch()
        status, message = self.server.next_failure(method)
        if status == "after":
            self.carry_out(method, body)
            status, message = 500, "Internal error"
        if status is None and self.server.absent(method):
            status, message = 404, "Not found"
        if status is None:
            return self.carry_out(method, body)
        if status == "cut":
            raise explain(LOST)
        if status == 200:
            raise explain("Expecting value: line 1 column 1 (char 0)")
        side = "Client" if status < 500 else "Server"
        error = explain(
            (message or f"{status} {side} Error: {HTTPStatus(status).phrase} for url: http://localhost/api/v1/{method}")
            + HINTS.get(min(status, 500), "")
        )
        error.retry_after = float(self.server.headers["Retry-After"]) if "Retry-After" in self.server.headers else None
        raise error

    def carry_out(self, method, body):
        return getattr(self.server, re.sub(r"(?<!^)([A-Z])", r"_\1", method).lower())(body or {})

    @staticmethod
    def known(enum, status):
        if status not in enum.__members__:
            raise explain(f"KeyError: '{status}'\n{UNEXPECTED}")
        return f"{enum.__name__}.{status}"

    def competitions_download(self, arguments):
        """A proxy's page lands under the name of the API's method; one in place of the file, under the file's."""
        folder = Path(arguments[-1])
        if self.server.next_failure("DownloadDataFiles")[0] == 200:
            (folder / "digit-recognizer.CompetitionApiService").write_bytes(b"<html>")
        elif self.server.next_failure("GET")[0] == "page":
            (folder / "digit-recognizer.zip").write_bytes(b"<html>Sign in</html>")
        else:
            (folder / "digit-recognizer.zip").write_bytes(self.server.zipped)
        return ""

    def competitions_submit(self, arguments):
        self.call("StartSubmissionUpload")
        if self.server.next_failure("PUT")[0]:
            return "Could not submit to competition"
        path, message = (arguments[arguments.index(flag) + 1] for flag in ("-f", "-m"))
        self.server.uploads.append(Path(path).read_bytes())
        answer = self.call("CreateSubmission", {"submissionDescription": message})
        return f"Submission ref: {answer['ref']}\n{answer['message']}"

    def competitions_submissions(self, arguments):
        size = int(arguments[arguments.index("--page-size") + 1])
        rows = self.call("ListSubmissions", {"pageSize": size})["submissions"]
        if not rows:
            return "No submissions found\n"
        text = io.StringIO()
        names = ["ref", "fileName", "date", "description", "status", "publicScore", "privateScore"]
        writer = csv.DictWriter(text, names, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows({**row, "status": self.known(SubmissionStatus, row["status"])} for row in rows)
        return text.getvalue()

    def competitions_submission(self, arguments):
        row = self.call("GetSubmission", {"ref": int(arguments[2])})
        return (
            f"Submission Ref:  {row['ref']}\nStatus:          {row['status']}\nError:           {self.server.reason}\n"
        )

    def competitions_submission_limits(self, arguments):
        limits = self.call("GetSubmissionLimits")
        return f"Lifetime submissions: {limits['numTotal']}\nRemaining today: {limits['numAllowedNow']}\n"

    def config_view(self, arguments):
        return "- username: ann\n"

    def quota(self, arguments):
        self.call("GetAcceleratorQuotaStatistics")
        hours = self.server.hours
        row = f"GPU,{hours:.2f}h,{30 - hours:.2f}h,30.00h,2026-12-05T00:00:00+00:00"
        return f"resource,used,remaining,total,refreshAt\n{row}\n"

    def kernels_push(self, arguments):
        metadata = json.loads(Path(arguments[-1], "kernel-metadata.json").read_text())
        answer = self.call(
            "SaveKernel",
            {"slug": metadata["id"], "isPrivate": metadata["is_private"], "enableInternet": metadata["enable_internet"],
             "datasetDataSources": metadata["dataset_sources"]},
        )  # fmt: skip
        if answer.get("error"):
            return f"Kernel push error: {answer['error']}\n"
        lines = [
            f"The following are not valid {kind.lower()} sources and could not be added to the kernel: {answer[name]}\n"
            for kind in ("Dataset", "Competition")
            if (name := f"invalid{kind}Sources") in answer
        ]
        version = f"{answer['versionNumber']} " if "versionNumber" in answer else ""
        page = answer.get("url", "")
        return "".join([*lines, f"Kernel version {version}successfully pushed.  Please check progress at {page}\n"])

    def kernels_status(self, arguments):
        owner, slug, *version = arguments[2].split("/")
        body = {"userName": owner, "kernelSlug": slug, **({"versionLabel": f"v{version[0]}"} if version else {})}
        answer = self.call("GetKernelSessionStatus", body)
        text = f'{arguments[2]} has status "{self.known(KernelWorkerStatus, answer["status"])}"\n'
        return text + (f'Failure message: "{answer["failureMessage"]}"\n' if answer["failureMessage"] else "")

    def kernels_output(self, arguments):
        _, slug, *version = arguments[2].split("/")
        folder, pattern = (arguments[arguments.index(flag) + 1] for flag in ("-p", "--file-pattern"))
        body = {"pageSize": 1000, **({"versionLabel": f"v{version[0]}"} if version else {})}
        answer = self.call("ListKernelSessionOutput", body)
        for name in (file["fileName"] for file in answer["files"] if re.search(pattern, file["fileName"])):
            status = self.server.next_failure("output")[0]
            if status:
                raise explain(f"{status} Server Error: Internal Server Error for url: http://localhost/output/{name}")
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.server.kernel["files"][name])
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, f"{slug}.log").write_text(answer["log"])
        return ""

    def datasets_files(self, arguments):
        rows = self.call("ListDatasetFiles")["datasetFiles"]
        lines = [f"{row['name']},{row['totalBytes']},2026-01-02 03:04:05\n" for row in rows]
        return "".join(["name,size,creationDate\n", *lines])

    def datasets_status(self, arguments):
        return self.call("GetDatasetStatus")["status"].lower()

    def datasets_create(self, arguments):
        return self.sent("CreateDataset", arguments)

    def datasets_version(self, arguments):
        return self.sent("CreateDatasetVersion", arguments)

    def sent(self, method, arguments):
        folder = Path(arguments[arguments.index("-p") + 1])
        files = [path for path in folder.iterdir() if path.name != "dataset-metadata.json"]
        names = [f"{path.name}.zip" if path.is_dir() else path.name for path in files]
        tokens = [self.call("StartBlobUpload", {"name": name, "contentLength": 1})["token"] for name in names]
        body = {"files": [{"token": token} for token in tokens], "isPrivate": "--public" not in arguments}
        answer = self.call(method, body if method == "CreateDataset" else {"body": body})
        kind = "private" if body["isPrivate"] else "public"
        return f"Your {kind} Dataset is being created. Please check progress at {answer['url']}\n"


def installed(folder, version):
    """An older command line in an environment of its own: its executable."""
    subprocess.run(["python3", "-m", "venv", folder], check=True)
    packages = [f"kaggle=={version}", "six"]  # which 2.2.4 imports and does not ask for
    install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    done = subprocess.run(install, capture_output=True, text=True)
    return folder / "bin" / "kaggle", done.returncode, done.stderr
