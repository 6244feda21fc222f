"""A stand-in for Kaggle's API, as far as `competition` uses it, for the real command line to talk to.

It works as a proxy does: requests carry the whole address. A test scripts what goes wrong with `server.fail`.
"""

import json
import re
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PAGE_SIZE = 20


class KaggleServer:
    """What Kaggle knows, and which requests came.

    Attributes:
        zipped: bytes of the competition's zip.
        submissions: newest first, as the API lists them.
        left: submissions left today.
        score_after: how many times a new submission is listed as pending before its score.
        uploads: bytes of each whole upload.
        reason: why a submission could not be scored.
        kernel: what push, status and output return; before the first push there is no kernel.
        dataset: names and bytes of the dataset's files; None before it is created.
        hours: GPU hours used of 30.
        requests: (method, body, headers) of each call.
    """

    def __init__(self):
        self.zipped, self.submissions, self.left, self.total = b"", [], 5, 1
        self.score_after, self.score, self.final_status, self.loses = 0, "0.99700", "COMPLETE", False
        self.uploads, self.requests = [], []
        self.kernel = {"push": {"versionNumber": 3, "url": "https://www.kaggle.com/code/ann/digits"}}
        self.kernel |= {"states": ["QUEUED", "RUNNING", "COMPLETE"], "message": "", "files": {}, "log": "[]"}
        self.kernel["pushed"], self.dataset, self.hours, self.reason = False, None, 1.5, ""
        self.token_user, self.headers, self.watch = None, {}, lambda: None
        self._failures, self._pending, self._lock = defaultdict(list), {}, threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # of a client that was killed
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        self._http.shutdown()
        self._http.server_close()

    def fail(self, method, status, message="", times=1):
        """Let the next calls of a method fail: with a status, or `hang`, or `cut`.

        `after`: the call is carried out, and then answered with 500. A message "" gives no JSON but a page, as a proxy
        would; with status 200 too.
        """
        self._failures[method] += [(status, message)] * times

    def calls(self, method):
        return [body for name, body, _ in self.requests if name == method]

    def next_failure(self, method):
        with self._lock:
            return self._failures[method].pop(0) if self._failures[method] else (None, "")

    def absent(self, method):
        """Whether a call is about what there is not."""
        absent = {"GetKernelSessionStatus": not self.kernel["pushed"], "ListDatasetFiles": self.dataset is None}
        return {**absent, "GetDatasetStatus": self.dataset is None}.get(method, False)

    # What the API's methods return

    def start_submission_upload(self, body):
        return {"token": "blob-token", "createUrl": "http://localhost/upload/blob?signature=signed-secret"}

    def create_submission(self, body):
        when = datetime.now(UTC) + timedelta(seconds=len(self.submissions))
        ref = 1000 + len(self.submissions)
        self._pending[ref] = self.score_after
        row = {
            "ref": ref, "date": when.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "description": body["submissionDescription"],
            "fileName": "submission.csv", "status": "PENDING",
        }  # fmt: skip
        if not self.loses:
            self.submissions.insert(0, row)
        return {"message": "Successfully submitted to Digit Recognizer", "ref": ref}

    def list_submissions(self, body):
        for row in self.submissions:
            if row["status"] == "PENDING" and row["ref"] in self._pending:
                if self._pending[row["ref"]] <= 0:
                    row["status"] = self.final_status
                    if self.final_status == "COMPLETE":
                        row["publicScore"] = self.score
                self._pending[row["ref"]] -= 1
        size = body.get("pageSize") or PAGE_SIZE
        return {"submissions": self.submissions[:size], "nextPageToken": "more" * (len(self.submissions) > size)}

    def get_submission_limits(self, body):
        return {"numToday": 1, "numTotal": self.total, "numAllowedNow": self.left, "limitedByTotal": False}

    def introspect_token(self, body):
        return {"active": bool(self.token_user), "username": self.token_user or ""}

    def get_submission(self, body):
        row = next(row for row in self.submissions if row["ref"] == body["ref"])
        return {**row, "errorDescription": self.reason}

    def save_kernel(self, body):
        self.kernel["pushed"] = True
        return self.kernel["push"]

    def get_accelerator_quota_statistics(self, body):
        used = {"timeUsed": f"{self.hours * 3600:.0f}s", "totalTimeAllowed": "108000s"}
        return {"quotaRefreshTime": "2026-12-05T00:00:00Z", "gpuQuota": used}

    def get_kernel_session_status(self, body):
        states = self.kernel["states"]
        return {"status": states.pop(0) if len(states) > 1 else states[0], "failureMessage": self.kernel["message"]}

    def start_blob_upload(self, body):
        self.blobs = [*getattr(self, "blobs", []), body]
        return {"token": str(len(self.blobs) - 1), "createUrl": "http://localhost/upload/blob?signature=signed-secret"}

    def create_dataset(self, body):
        sent = [self.blobs[int(file["token"])] for file in body["files"]]
        self.dataset = {blob["name"]: blob["contentLength"] for blob in sent}
        return {"status": "ok", "url": "https://www.kaggle.com/datasets/ann/weights"}

    def create_dataset_version(self, body):
        return self.create_dataset(body["body"])

    def get_dataset_status(self, body):
        return {"status": "READY"}

    def list_dataset_files(self, body):
        date = "2026-01-02T03:04:05Z"
        return {
            "datasetFiles": [
                {"name": n, "totalBytes": s, "creationDate": date} for n, s in (self.dataset or {}).items()
            ]
        }

    def list_kernel_session_output(self, body):
        first, size = int(body.get("pageToken") or 0), body["pageSize"]
        names = sorted(self.kernel["files"])
        page = [{"url": f"http://localhost/output/{n}", "fileName": n} for n in names[first : first + size]]
        more = str(first + size) if first + size < len(names) else ""
        return {"files": page, "log": self.kernel["log"], "nextPageToken": more}


def _handler(server):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self, status, content, kind="application/json", **headers):
            self.send_response(status)
            for name, value in {**headers, **server.headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def fails(self, method):
            """Whether the test wants this call to go wrong; then it just did."""
            status, message = server.next_failure(method)
            if status is None:
                return False
            if status == "hang":
                time.sleep(30)
            if status in ("hang", "cut"):
                self.close_connection = True
                self.connection.close()
                return True
            if status == "after":
                self.carry_out(method)
                status, message = 500, "Internal error"
            text = json.dumps({"code": status, "message": message}).encode() if message else b"<html>"
            self.answer(status, text, "application/json" if message else "text/html")
            return True

        def carry_out(self, method):
            name = re.sub(r"(?<!^)([A-Z])", r"_\1", method).lower()
            return getattr(server, name)(self.body)

        def do_POST(self):
            method = urlsplit(self.path).path.rpartition("/")[2]
            self.body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
            server.requests.append((method, self.body, dict(self.headers)))
            server.watch()
            if self.fails(method):
                return
            if server.absent(method):
                self.answer(404, json.dumps({"code": 404, "message": "Not found"}).encode())
            elif method == "DownloadDataFiles":
                self.answer(302, b"", Location="http://localhost/storage/digit-recognizer.zip?signature=signed-secret")
            else:
                self.answer(200, json.dumps(self.carry_out(method)).encode())

        def do_PUT(self):
            length, status = int(self.headers["Content-Length"]), server.next_failure("PUT")[0]
            server.requests.append(("PUT", {}, dict(self.headers)))
            if status == "cut":
                self.rfile.read(length // 2)
                self.close_connection = True
                self.connection.close()
                return
            content = self.rfile.read(length)
            if status:
                self.answer(status, b"<html>", "text/html")
            else:
                server.uploads.append(content)
                self.answer(200, b"")

        def do_GET(self):
            path = urlsplit(self.path).path
            server.requests.append(("GET", {"path": path}, dict(self.headers)))
            if path.startswith("/output/"):
                if not self.fails("output"):
                    self.answer(200, server.kernel["files"][path.removeprefix("/output/")], "text/csv")
                return
            start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or [0, 0])[1])
            content, how = server.zipped[start:], server.next_failure("GET")[0]
            if how == "page":
                self.answer(200, b"<html>Sign in</html>", "text/html")
                return
            self.send_response(206 if start else 200)
            for name, value in (
                ("Content-Type", "application/zip"), ("Content-Length", str(len(content))), ("Accept-Ranges", "bytes"),
                ("ETag", '"one"'), ("Last-Modified", "Wed, 11 Dec 2019 18:48:13 GMT"),
            ):  # fmt: skip
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: len(content) * 2 // 3] if how else content)
            if how == "hang":
                time.sleep(30)
            if how:
                self.close_connection = True
                self.connection.close()

    return Handler
