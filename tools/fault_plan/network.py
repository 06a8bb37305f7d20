"""What lies between people and the server: it passes everything on, cuts connections, or keeps everything to itself."""

import contextlib
import random
import socket
import struct
import threading
import time

CHUNK = 64 * 1024
AT_ONCE = struct.pack("ii", 1, 0)


class Network:
    """`mood` is "well", "cutting" or "silent". What is cut may have been read by the server: then its answer is lost."""

    def __init__(self, port):
        self.mood, self.server = "well", port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            person, _ = self.listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self.server), 5)
            except OSError:
                person.close()
                continue
            server.settimeout(None)
            for one, other in ((person, server), (server, person)):
                threading.Thread(target=self.carry, args=(one, other), daemon=True).start()

    def carry(self, one, other):
        with contextlib.suppress(OSError):
            while chunk := one.recv(CHUNK):
                while self.mood == "silent":
                    time.sleep(0.05)
                # A half may still arrive.
                cut = self.mood == "cutting" and random.random() < 0.5
                other.sendall(chunk[: len(chunk) // 2] if cut and random.random() < 0.5 else chunk)
                if cut:
                    break
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                end.shutdown(socket.SHUT_RDWR)
            end.close()
