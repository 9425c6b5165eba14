"""A server that speaks S3, on the loopback address; its requests can be made to fail."""

from __future__ import annotations

import io
import os
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BUCKET = "bucket"
REFUSED = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>the test says so</Message>'
    b"<RequestId>1</RequestId></Error>"
)


class S3Server:
    """Serves an empty bucket from its making until `stop`.

    Attributes:
        options: For the file system: where the server is, and no attempts but ours.
        refuse: ``f(number, method, path) -> status``; 0 lets the request through. A negative status answers so after
            the request was done.
        count: How many requests came since it was last set to 0.
    """

    def __init__(self) -> None:
        # Not at the top: every module of tests is imported where these libraries are not.
        import boto3
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self.refuse: Callable[[int, str, str], int] = lambda number, method, path: 0
        self.count = 0
        self._application = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.options: dict[str, Any] = {
            "endpoint_url": self.url, "key": "key", "secret": "secret",
            "config_kwargs": {"retries": {"max_attempts": 0}},
        }  # fmt: skip
        self.environment = {
            **os.environ, "AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip
        session = boto3.Session("key", "secret", region_name="us-east-1")
        self.client = session.client("s3", endpoint_url=self.url)
        self.client.create_bucket(Bucket=BUCKET)

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def files(self, directory: str) -> dict[str, bytes]:
        """Return what is in a directory of the bucket."""
        refuse, self.refuse = self.refuse, lambda number, method, path: 0
        listed = self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{directory}/").get("Contents", [])
        names = [item["Key"] for item in listed]
        contents = {
            name.rpartition("/")[2]: self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in names
        }
        self.refuse = refuse
        return contents

    def clear(self) -> None:
        """Remove everything from the bucket."""
        for item in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
            self.client.delete_object(Bucket=BUCKET, Key=item["Key"])

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.count += 1
        status = self.refuse(self.count, environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if status:  # what is read twice from the connection is waited for
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        if status < 0:
            list(self._application(environ, lambda *arguments: lambda data: None))
        if status:
            code = b"AccessDenied" if status == 403 else b"InternalError"
            content = REFUSED % code
            start_response(
                f"{abs(status)} refused", [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))]
            )
            return [content]
        return self._application(environ, start_response)
