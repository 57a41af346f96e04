"""Parses HTTP/1.1 messages out of recorded bytes."""

import dataclasses


@dataclasses.dataclass
class Message:
    """An HTTP/1.1 request or response. `body` is without its chunk framing."""

    first_line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header; the case of `name` does not matter."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def status(self) -> int:
        """The status code of a response."""
        return int(self.first_line.split(" ")[1])

    @property
    def path(self) -> str:
        """The target of a request."""
        return self.first_line.split(" ")[1]


def parse_messages(data: bytes) -> list[Message]:
    """All messages in one direction of a connection. The body of the last one may be incomplete."""
    found = []
    while data:
        head, separator, rest = data.partition(b"\r\n\r\n")
        if not separator:
            break
        first_line, *lines = head.decode("latin-1").split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        message = Message(first_line, headers, b"")
        if (message.header("transfer-encoding") or "").lower() == "chunked":
            message.body, data = dechunk(rest)
        elif (length := message.header("content-length")) is not None:
            message.body, data = rest[: int(length)], rest[int(length) :]
        elif first_line.startswith("HTTP/"):
            message.body, data = rest, b""
        else:
            data = rest
        found.append(message)
    return found


def dechunk(data: bytes) -> tuple[bytes, bytes]:
    """Decodes a chunked body; returns it and the bytes after it. Of an incomplete body it returns what there is."""
    body = bytearray()
    while True:
        size, separator, rest = data.partition(b"\r\n")
        if not separator:
            return bytes(body), b""
        length = int(size.split(b";")[0], 16)
        body += rest[:length]
        data = rest[length + 2 :]
        if length == 0:
            return bytes(body), data
