"""A web server on this machine that serves one file, well or badly."""

import contextlib
import http.server
import threading
from collections.abc import Iterator


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` under every path.

    Attributes:
        ranges: the Range headers of the requests so far; None where there was none.
        gives_parts: whether it honours them.
        breaks_after: bytes of an answer's body after which it hangs up; None: never.
        says_length: whether it declares how much it sends.
        status: of every answer, if it is not 200 or 206.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.ranges: list[str | None] = []
        self.gives_parts = True
        self.breaks_after: int | None = None
        self.says_length = True
        self.says_range: str | None = None
        self.status: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/folder/weights.pth"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers["Range"]
        server.ranges.append(wanted)
        start = (
            int(wanted.removeprefix("bytes=").removesuffix("-"))
            if wanted and server.gives_parts
            else 0
        )
        body = server.content[start:]
        if start and not body:
            return self.send_error(416)
        self.send_response(server.status or (206 if start else 200))
        if start:
            last = len(server.content)
            self.send_header(
                "Content-Range", server.says_range or f"bytes {start}-{last - 1}/{last}"
            )
        if server.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the other side may have heard enough
            self.wfile.write(body[: server.breaks_after])
        return None

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(content: bytes) -> Iterator[Server]:
    """A server of that content, while the block lasts."""
    with Server(content) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
