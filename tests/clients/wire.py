"""A relay between clients and a server that keeps what went over the wire.

Bytes pass unchanged and as they come, in both directions, ends of connections included: timing, cancelling and malformed
requests are what they would be without it. HTTP is only read along.
"""

import contextlib
import dataclasses
import socket
import threading


@dataclasses.dataclass
class Exchange:
    """One request and its answer, as far as it has come."""

    method: str = "?"  # of a request that has no readable head
    path: str = "?"
    status: int = 0  # 0: no answer yet
    headers: dict[str, str] = dataclasses.field(default_factory=dict)  # of the answer; names in lower case
    body: bytearray = dataclasses.field(default_factory=bytearray)  # of the answer, without chunks
    whole: bool = False  # the body has come to its end
    ended: bool = False  # so, or its connection has

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").split(";")[0]

    def __str__(self):
        return f"{self.method} {self.path} -> {self.status}"


class _Reader:
    """Runs a coroutine that reads one direction: it yields while it needs more bytes."""

    def __init__(self, parse):
        self.data = bytearray()
        self.parse = parse(self)
        next(self.parse)

    def feed(self, data: bytes):
        self.data += data
        self.parse.send(None)

    def until(self, mark: bytes):
        while mark not in self.data:
            yield
        end = self.data.index(mark)
        taken = bytes(self.data[:end])
        del self.data[: end + len(mark)]
        return taken

    def into(self, sink: bytearray, count: int | None):
        """count bytes, or all that come."""
        while count is None or count > 0:
            while not self.data:
                yield
            piece = self.data[:count]
            del self.data[: len(piece)]
            sink += piece
            count = None if count is None else count - len(piece)

    def body(self, headers: dict[str, str], sink: bytearray, otherwise: int | None):
        """otherwise: the length where no header tells it; None: until the connection ends."""
        if headers.get("transfer-encoding") != "chunked":
            length = headers.get("content-length")
            return (yield from self.into(sink, otherwise if length is None else int(length)))
        while size := int((yield from self.until(b"\r\n")).split(b";")[0], 16):
            yield from self.into(sink, size)
            yield from self.until(b"\r\n")
        yield from self.until(b"\r\n")

    def head(self):
        """The words of the first line and the headers."""
        lines = (yield from self.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:])
        return lines[0].split(" "), {name.strip().lower(): value.strip() for name, _, value in pairs}


class Connection:
    """Reads along on one connection; requests are answered in their order."""

    def __init__(self, add):
        self.add = add  # called with each new exchange
        self.waiting: list[Exchange] = []
        self.answering: Exchange | None = None
        self.lock = threading.Lock()
        self.readers = {"request": _Reader(self._requests), "answer": _Reader(self._answers)}

    def feed(self, direction: str, data: bytes):
        with self.lock:
            # A request that is no HTTP is not read further; an answer that isn't breaks the connection off.
            with contextlib.suppress(StopIteration, *[ValueError] * (direction == "request")):
                self.readers[direction].feed(data)

    def end(self):
        """The server's side has ended: nothing more comes."""
        with self.lock:
            for exchange in self.waiting + [self.answering] * (self.answering is not None):
                exchange.ended = True

    def _new(self, *request: str) -> Exchange:
        exchange = Exchange(*request)
        self.add(exchange)
        return exchange

    def _requests(self, reader):
        while True:
            words, headers = yield from reader.head()
            if len(words) != 3:
                return
            self.waiting.append(self._new(words[0], words[1].partition("?")[0]))
            yield from reader.body(headers, bytearray(), 0)

    def _answers(self, reader):
        while True:
            words, headers = yield from reader.head()
            if words[1].startswith("1"):  # 100 Continue
                continue
            exchange = self.answering = self.waiting.pop(0) if self.waiting else self._new()
            exchange.status, exchange.headers = int(words[1]), headers
            bodiless = exchange.method == "HEAD" or exchange.status in (204, 304)
            yield from reader.body({} if bodiless else headers, exchange.body, 0 if bodiless else None)
            exchange.whole = exchange.ended = True


class Relay:
    """Listens on a free port of its own and passes everything on to `port`, until close()."""

    def __init__(self, port: int):
        self._target = ("127.0.0.1", port)
        self._exchanges: list[Exchange] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def take(self) -> list[Exchange]:
        """What has ended since the last call."""
        seen = list(self._exchanges)  # more may be added meanwhile, at the end
        ended = [exchange.ended for exchange in seen]
        self._exchanges[: len(seen)] = [exchange for exchange, over in zip(seen, ended) if not over]
        return [exchange for exchange, over in zip(seen, ended) if over]

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self._exchanges.append)
            for direction, source, sink in (("request", client, server), ("answer", server, client)):
                threading.Thread(target=_pump, args=(source, sink, direction, connection), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, direction: str, connection: Connection):
    try:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                connection.feed(direction, data)
                sink.sendall(data)
    finally:
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        if direction == "answer":  # the server has ended the connection, or the client is gone
            connection.end()
            for end in (source, sink):
                end.close()
